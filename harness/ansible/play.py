"""Playbooks, run with ansible-runner: its job events become steps of our journal.

Everything of a run stays in `<run>/ansible/`: the inventory, the variables, what Ansible printed, its own home and
temporary files.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import caller, resources, timeouts
from harness.errors import CnilabError
from harness.model.journal import Journal, now
from harness.model.records import Event
from harness.runner import Runner

STATES: Mapping[str, str] = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "failed",
    "runner_on_skipped": "skipped",
}


class PlaybookError(CnilabError):
    """A playbook failed on some host."""

    exit_code = 11


@dataclass(frozen=True)
class Play:
    """What a playbook did.

    Args:
        playbook: Its name.
        ok: Tasks by host that were as wanted or changed.
        changed: Tasks by host that changed something.
        seconds: Duration of the whole run.
    """

    playbook: str
    ok: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def total_changed(self) -> int:
        """Changed tasks on all hosts: 0 when everything was there already."""
        return sum(self.changed.values())


def settings(folder: Path) -> dict[str, str]:
    """Environment that keeps Ansible inside the run directory, and away from the user's configuration."""
    root = resources.root() / "playbooks"
    programs = Path(sys.executable).parent
    return {
        "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_REMOTE_TEMP": "/tmp/.ansible",  # noqa: S108 - of the node, not of this machine
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "PYTHONWARNINGS": "ignore",
        **caller.language(),
        "PYTHONDONTWRITEBYTECODE": "",  # compiling Ansible anew on every start would cost a second
    }


class Failures:
    """Collects what failed, from job events."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, str]] = []

    def add(self, event: Mapping[str, Any]) -> None:
        """Keep the event if something failed in it."""
        data = event.get("event_data", {})
        if STATES.get(str(event.get("event"))) == "failed" and not data.get("ignore_errors"):
            result = data.get("res") or {}
            text = result.get("stderr") or result.get("msg") or result.get("stdout") or "no reason given"
            self.found.append((str(data.get("host")), str(data.get("task")), str(text).strip()))


def journal_event(event: Mapping[str, Any], step: str) -> Event | None:
    """An event of ours for a job event of ansible-runner; None for those that say nothing new."""
    state = STATES.get(str(event.get("event")))
    data = event.get("event_data", {})
    if state is None or state == "skipped":
        return None
    result = data.get("res") or {}
    detail: dict[str, Any] = {"host": data.get("host"), "changed": bool(result.get("changed"))}
    if state == "failed":
        detail["error"] = str(result.get("stderr") or result.get("msg") or "").strip()[-1000:]
    return Event(
        at=now(),
        step=step,
        state="ok" if state == "ok" else "failed",
        title=f"{data.get('task')} ({data.get('host')})",
        seconds=round(float(data.get("duration") or 0.0), 3),
        detail=detail,
    )


def play(
    playbook: str,
    inventory: str,
    run: Path,
    journal: Journal,
    *,
    variables: Mapping[str, Any] | None = None,
    deadline: float = timeouts.PLAYBOOK,
) -> Play:
    """Run a playbook to its end.

    Args:
        playbook: File name in `playbooks/`.
        inventory: YAML, as of `inventory.render`.
        run: The run directory.
        journal: Gets a step for the run and one for each task.
        variables: Extra variables.
        deadline: Seconds, before scaling.

    Raises:
        PlaybookError: A task failed, or a host could not be reached; or this machine has no locale with UTF-8.
    """
    if caller.utf8_locale() == "C":
        msg = f"playbook {playbook} cannot be run: this machine has no locale with UTF-8, and Ansible asks for one"
        step = "make one: localedef -i C -f UTF-8 C.UTF-8 (on Debian and Ubuntu it is in package libc-bin)"
        raise PlaybookError(msg, cause=f"none of {', '.join(caller.UTF8_LOCALES)}", next_step=step)
    import ansible_runner  # noqa: PLC0415 - takes 0.2 s, which commands without playbooks need not spend

    name = Path(playbook).stem
    folder = run / "ansible" / name
    inventory_file = run / "ansible" / "inventory.yaml"
    for path in (folder, folder / "home", folder / "tmp"):
        path.mkdir(parents=True, exist_ok=True)
    inventory_file.write_text(inventory, encoding="utf-8")
    number = f"{len(list((folder / 'artifacts').glob('*'))) + 1:02}"
    artifacts = folder / "artifacts" / number
    failures = Failures()
    step = f"ansible.{name}"

    def handle(event: Mapping[str, Any]) -> bool:
        failures.add(event)
        ours = journal_event(event, step)
        if ours is not None:
            journal.emit(ours)
        return True

    start = time.monotonic()
    with journal.step(step, f"Playbook {playbook}") as closing:
        done = ansible_runner.run(
            private_data_dir=str(folder),
            playbook=str(resources.root() / "playbooks" / playbook),
            inventory=str(inventory_file),
            extravars=dict(variables or {}),
            envvars=settings(folder),
            event_handler=handle,
            quiet=True,
            suppress_env_files=True,
            timeout=int(timeouts.stretched(deadline)),
            ident=number,
        )
        _forget_environment(artifacts / "command")
        stats = done.stats or {}
        result = Play(playbook, dict(stats.get("ok") or {}), dict(stats.get("changed") or {}), time.monotonic() - start)
        closing |= {"ok": sum(result.ok.values()), "changed": result.total_changed}
        if done.status != "successful":
            raise _error(playbook, str(done.status), failures, artifacts / "stdout")
    return result


def _forget_environment(record: Path) -> None:
    """Keep only Ansible's settings in ansible-runner's record: a run directory is published, an environment is not."""
    if not record.is_file():
        return
    kept = json.loads(record.read_text(encoding="utf-8"))
    kept["env"] = {key: value for key, value in kept.get("env", {}).items() if key.startswith("ANSIBLE_")}
    record.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _error(playbook: str, status: str, failures: Failures, log: Path) -> PlaybookError:
    if failures.found:
        host, task, text = failures.found[0]
        cause = "\n".join(text.splitlines()[-5:])
        return PlaybookError(f"playbook {playbook} failed", cause=cause, where=f"{host}, task '{task}'", log=str(log))
    tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-5:]) if log.is_file() else ""
    return PlaybookError(f"playbook {playbook} ended as '{status}'", cause=tail, log=str(log))


def pid_of(runner: Runner) -> int | None:
    """PID of a namespace node, from the prefix of its runner; None when it is another kind of node."""
    prefix = list(getattr(runner, "prefix", ()))
    if prefix and os.path.basename(prefix[0]) == "nsenter" and "-t" in prefix[:-1]:  # noqa: PTH119 - a word, no path
        return int(prefix[prefix.index("-t") + 1])
    return None
