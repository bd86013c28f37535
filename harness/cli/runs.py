"""Run directories as the command line sees them: making one, and finding the last one of a cluster."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from harness import __version__
from harness.cli.context import checked_name, settings, shown
from harness.cli.select import names
from harness.errors import CnilabError, UsageError
from harness.model.journal import now
from harness.model.labstate import LabDir, LabState, read
from harness.model.run import RunDir, RunInfo
from harness.model.spec import BARE, LabSpec
from harness.steps.lifecycle.attach import Attached


def new_run(spec: LabSpec, words: list[str], where: Path | None) -> RunDir:
    """Make the run directory of a cluster and write its `run.json`.

    Args:
        spec: The cluster's.
        words: The words of `up` that decide what the cluster is, for the report's "do it again".
        where: The directory; None: `./.runs/<time>-<cluster>`.

    Raises:
        UsageError: It exists already and holds another run, or cannot be made.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = run_path(spec, where)
    run = RunDir(path)
    if (path / "run.json").exists():
        msg = f"{shown(str(path), 200)} contains an earlier run"
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
                kubernetes="" if spec.cni == BARE else spec.kubernetes.version,
                nodes=spec.nodes,
                spec=json.loads(spec.model_dump_json(by_alias=True)),
                reproduce=_reproduce(spec, words),
                version=__version__,
                host=host_facts(),
            )
        )
        point_latest_at(path)
    except OSError as error:
        msg = f"cannot make the run directory {shown(str(path), 200)}"
        raise UsageError(msg, cause=str(error), next_step="set another directory with --run-dir") from error
    return run


def _reproduce(spec: LabSpec, words: list[str]) -> str:
    # tox tells the programs that it runs the name of its environment, which is the cluster's name there.
    if os.environ.get("TOX_ENV_NAME") == spec.name:
        rest = shlex.join(word for word in words[1:] if word not in {"--name", spec.name})
        return f"./tox -e {spec.name}" + (f" -- {rest}" if rest else "")
    return shlex.join(["cnilab", "up", *words])


def finish(run: RunDir, failure: CnilabError | None = None, *, command: Sequence[str] = ()) -> None:
    """Note in `run.json` when the last command ended.

    Args:
        run: The run.
        failure: Why the cluster failed, if it did.
        command: What was run on the cluster that is up; becomes a part of "do it again".
    """
    if not (run.path / "run.json").exists():
        return
    changes: dict[str, object] = {"finished": now()}
    again = run.info().reproduce
    if command and again.startswith("cnilab") and not again.endswith(shlex.join(command)):
        changes["reproduce"] = f"{again} && {shlex.join(command)}"
    if failure is not None:
        facts = {"what": failure.what, "cause": failure.cause, "where": failure.where, "next": failure.next_step}
        changes["failure"] = {key: value for key, value in facts.items() if value}
    run.write_info(run.info().model_copy(update=changes))


def last_run(name: str) -> RunDir | None:
    """The newest run of a cluster below `./.runs`, up or not; None when there is none."""
    runs = []
    for path in Path(".runs").glob(f"*-{name}"):
        run = RunDir(path.absolute())
        with suppress(OSError, ValueError):
            info = run.info()
            if info.lab == name:
                runs.append((info.started, run))
    return max(runs, key=lambda pair: pair[0])[1] if runs else None


def require_run(there: Attached) -> RunDir:
    """The run directory that a command on a cluster adds to.

    Raises:
        UsageError: It is gone.
    """
    if there.run is not None and (there.run.path / "run.json").exists():
        return there.run
    path = there.run.path if there.run else "(none)"
    msg = f"the run directory of cluster '{there.lab.name}' is gone"
    raise UsageError(msg, where=str(path), next_step=f"cnilab down {there.lab.name}, then cnilab up")


def run_path(spec: LabSpec, where: Path | None) -> Path:
    """Where a run that begins now is kept: in `./.runs`, unless the user named a place.

    An `up` that was refused may have left a run in this very second: the next one is counted.
    """
    if where is not None:
        return where.absolute()
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    names = (f"{stamp}{count}-{spec.name}" for count in ("", *(f"-{number}" for number in range(2, 100))))
    paths = [(Path(".runs") / name).absolute() for name in names]
    return next((path for path in paths if not path.exists()), paths[0])


def point_latest_at(path: Path) -> None:
    """Keep `.runs/latest`; another cluster may be doing the same, and whoever is last is right."""
    latest = path.parent / "latest"
    if path.parent.name == ".runs" and (latest.is_symlink() or not latest.exists()):
        scratch = path.parent / f".latest.{os.getpid()}"
        scratch.symlink_to(path.name)
        scratch.replace(latest)


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


def existing_run(directory: Path | None, cluster: str | None, command: str) -> RunDir:
    """The run directory that a user means.

    Args:
        directory: As given; None: the cluster's last one.
        cluster: Its name; None: the newest run of all.
        command: Who asks, for the next step.

    Raises:
        UsageError: It is no run directory.
    """
    if directory is not None:
        path = directory
    elif cluster is not None and checked_name(cluster) in names():
        known = read(LabDir(settings().state, cluster), LabState)
        path = Path(known.run) if known is not None and known.run else Path(".runs/latest")
    elif cluster is not None:
        last = last_run(cluster)
        path = last.path if last is not None else Path(f".runs/*-{cluster}")
    else:
        path = Path(".runs/latest")
    if not (path / "run.json").is_file():
        msg = f"{shown(str(path), 200)} is not a run directory"
        raise UsageError(msg, cause="it has no run.json", next_step=f"name one: cnilab {command} .runs/…")
    return RunDir(path.resolve())
