"""Run directories as the command line sees them: making one, and finding the last one of a lab."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
from datetime import UTC, datetime
from pathlib import Path

from harness import __version__
from harness.cli.context import settings, shown
from harness.errors import CnilabError, UsageError
from harness.model.journal import now
from harness.model.run import RunDir, RunInfo
from harness.model.spec import LabSpec


def new_run(spec: LabSpec, argv: list[str], where: Path | None) -> RunDir:
    """Make the run directory of a lab and write its `run.json`.

    Args:
        spec: The lab.
        argv: The command line, for the report's "do it again".
        where: The directory; None: `./.runs/<time>-<lab>`.

    Raises:
        UsageError: It exists already and holds another run, or cannot be made.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = (where or Path(".runs") / f"{stamp}-{spec.name}").absolute()
    run = RunDir(path)
    if (path / "run.json").exists():
        msg = f"{shown(str(path), 200)} holds an earlier run"
        raise UsageError(msg, next_step="name another directory with --run-dir, or remove this one")
    try:
        path.mkdir(parents=True, exist_ok=True)
        run.write_info(
            RunInfo(
                id=f"{stamp}-{spec.name}",
                lab=spec.name,
                started=now(),
                variant=spec.cni,
                provider=spec.provider,
                kubernetes=spec.kubernetes.version,
                nodes=spec.nodes,
                spec=json.loads(spec.model_dump_json(by_alias=True)),
                reproduce=shlex.join(["cnilab", *argv]),
                version=__version__,
                host=host_facts(),
            )
        )
        _remember(spec.name, path)
    except OSError as error:
        msg = f"cannot make the run directory {shown(str(path), 200)}"
        raise UsageError(msg, cause=str(error), next_step="name another place with --run-dir") from error
    return run


def finish(run: RunDir, failure: CnilabError | None = None) -> None:
    """Note in `run.json` when the last command ended and, if it did, why the lab failed."""
    if not (run.path / "run.json").exists():
        return
    changes: dict[str, object] = {"finished": now()}
    if failure is not None:
        facts = {"what": failure.what, "cause": failure.cause, "where": failure.where, "next": failure.next_step}
        changes["failure"] = {key: value for key, value in facts.items() if value}
    run.write_info(run.info().model_copy(update=changes))


def last_run(name: str) -> RunDir | None:
    """The newest run directory of a lab, up or not; None when there was none or it is gone."""
    note = settings().state / "runs" / name
    try:
        path = Path(note.read_text(encoding="utf-8").strip())
    except OSError:
        return None
    return RunDir(path) if (path / "run.json").exists() else None


def _remember(name: str, path: Path) -> None:
    notes = settings().state / "runs"
    notes.mkdir(parents=True, exist_ok=True)
    scratch = notes / f".{name}.{os.getpid()}"
    scratch.write_text(f"{path}\n", encoding="utf-8")
    scratch.replace(notes / name)
    latest = path.parent / "latest"
    if path.parent.name == ".runs" and (latest.is_symlink() or not latest.exists()):
        latest.unlink(missing_ok=True)
        latest.symlink_to(path.name)


def host_facts() -> dict[str, str]:
    """What the machine is, for the report's environment; nothing that names its owner."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        system = ""
    return {
        "system": system or platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 2**30:.1f} GiB",
        "python": platform.python_version(),
        "cgroups": "v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1",
        "iptables": shutil.which("iptables") or "missing",
    }
