"""Connection to a node that is a set of Linux namespaces: `nsenter -t PID -a`."""

from __future__ import annotations

DOCUMENTATION = """
name: cnilab_namespace
short_description: run in the namespaces of a process
description:
  - Enters all namespaces of a process with nsenter, and runs commands there. The process is the node's PID 1, as this
    machine numbers it. Needs root.
author: cnilab
options:
  pid:
    description: Process whose namespaces are entered.
    type: int
    required: true
    vars:
      - name: cnilab_pid
  executable:
    description: The nsenter program.
    type: str
    default: nsenter
    vars:
      - name: cnilab_nsenter
"""

# Ansible wants the documentation first.
# ruff: noqa: E402
import subprocess
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

display = Display()


class Connection(ConnectionBase):  # type: ignore[misc]  # Ansible ships no types
    """Runs commands and copies files with one nsenter each; there is nothing to keep open."""

    transport = "cnilab_namespace"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def _enter(self, *argv: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
        """Run a program in the node.

        Args:
            *argv: Its words, as they are: no shell reads them.
            data: Its standard input.

        Raises:
            AnsibleConnectionFailure: The node is gone, or nsenter is not there.
        """
        pid = int(self.get_option("pid"))
        if not Path(f"/proc/{pid}").exists():
            msg = f"node {self._play_context.remote_addr} is gone: no process {pid}"
            raise AnsibleConnectionFailure(msg)
        vector = [str(self.get_option("executable")), "-t", str(pid), "-a", "--", *argv]
        display.vvv(f"EXEC {vector}", host=self._play_context.remote_addr)
        try:
            done = subprocess.run(vector, input=data, capture_output=True, check=False)
        except OSError as error:
            msg = f"cannot run {vector[0]}: {error}"
            raise AnsibleConnectionFailure(msg) from error
        return done.returncode, done.stdout, done.stderr

    def exec_command(
        self,
        cmd: str,
        in_data: bytes | None = None,
        sudoable: bool = True,  # noqa: FBT001, FBT002 - the signature that Ansible calls
    ) -> tuple[int, bytes, bytes]:
        """Run what Ansible wants to run: by its contract a line for a POSIX shell."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        return self._enter("/bin/sh", "-c", cmd, data=in_data or b"")

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file into the node."""
        super().put_file(in_path, out_path)
        source = Path(in_path)
        if not source.is_file():
            msg = f"no file {in_path}"
            raise AnsibleFileNotFound(msg)
        self._copied(self._enter("dd", f"of={out_path}", "bs=1M", "status=none", data=source.read_bytes()), out_path)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file out of the node."""
        super().fetch_file(in_path, out_path)
        done = self._enter("dd", f"if={in_path}", "bs=1M", "status=none")
        self._copied(done, in_path)
        Path(out_path).write_bytes(done[1])

    @staticmethod
    def _copied(done: tuple[int, bytes, bytes], path: str) -> None:
        code, _, errors = done
        if code:
            msg = f"cannot copy {path}: {errors.decode(errors='replace').strip()}"
            raise AnsibleConnectionFailure(msg)

    def close(self) -> None:
        """Nothing to close."""
        self._connected: Any = False
