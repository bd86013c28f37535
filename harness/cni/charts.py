"""Networks that come as Helm charts: the real helm installs them, into a lab's own API.

Everything that helm needs is in the lab's state directory: the program, the unpacked chart, the values, and helm's own
directories, so that nothing of a user's own helm is read or written.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import timeouts, yamlio
from harness.cluster.kube import Kube
from harness.cni.release import Release
from harness.components.store import Store, link_or_copy
from harness.errors import BringUpError
from harness.model.labstate import LabDir
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.runner import CommandError, HostRunner, Runner

Object = dict[str, Any]

PROGRAM = "helm"
CHART = "chart.tar"
"""What a component delivers its chart as."""
KINDS = "crds.tar"
"""And the kinds that it needs, one file each."""

_OWNED = "owner=helm"
_PENDING = ("pending-install", "pending-upgrade", "pending-rollback")


class Charts:
    """Helm and charts of one lab.

    Args:
        place: The lab's directories.
        runner: Runs helm.
    """

    def __init__(self, place: LabDir, runner: Runner | None = None) -> None:
        self._place = place
        self._folder = place.path / PROGRAM
        self._helm = Helm(self.program, self._folder, runner or HostRunner())

    @property
    def program(self) -> Path:
        """The lab's helm."""
        return self._folder / "bin" / PROGRAM

    @property
    def terminal(self) -> Runner:
        """The lab's helm as an operator has it: with the lab's API and directories of its own."""
        return HostRunner([str(word) for word in (*self._helm.prefix, "--kubeconfig", self._place.client_kubeconfig)])

    def chart(self, release: Release) -> Path:
        """Where a release's chart lies."""
        return self._folder / "charts" / release.name

    def kinds(self, release: Release) -> Path:
        """Where definitions of its kinds lie."""
        return self._folder / "kinds" / release.name

    def values_file(self, release: Release) -> Path:
        """The values that it was installed with."""
        return self._folder / f"{release.name}-values.yaml"

    def deliver(self, store: Store, release: Release) -> None:
        """Put helm and the chart where the lab finds them.

        Args:
            store: Has both components.
            release: What will be installed.
        """
        self.program.parent.mkdir(parents=True, exist_ok=True)
        self.program.unlink(missing_ok=True)
        link_or_copy(store.program(PROGRAM), self.program)
        unpack(store, release.component, self.chart(release))
        if release.kinds:
            unpack(store, release.component, self.kinds(release), KINDS)

    def install(self, release: Release, spec: LabSpec, variant: Variant, api: Kube) -> None:
        """Install a release, or change it to what it shall be.

        Args:
            release: Which one.
            spec: The lab.
            variant: Its network.
            api: For what an interrupted helm left.

        Raises:
            CommandError: Helm says no.
        """
        _forget_interrupted(api, release)
        path = self.values_file(release)
        path.write_text(yamlio.dumps(release.values(spec, variant)), encoding="utf-8")
        api.apply(self._definitions(release))
        # What an interrupted installation made is its own: taken over, not refused.
        words = ("upgrade", "--install", "--take-ownership", "--hide-notes", "--values", path)
        instead = (word for setting in release.instead for word in ("--set", setting))
        with told_of_version(spec, variant, release):
            self._ask((*words, *instead, release.name, self.chart(release)), release)

    def _definitions(self, release: Release) -> list[Object]:
        files = {path.stem: path for path in self.kinds(release).rglob("*.yaml")}
        if lacking := [name for name in release.kinds if name not in files]:
            msg = f"the component '{release.component}' does not contain {', '.join(lacking)}"
            raise BringUpError(
                msg, where=str(self.kinds(release)), next_step="harness/cni lists the kinds of this version"
            )
        return [yamlio.loads(files[name].read_text(encoding="utf-8")) for name in release.kinds]

    def uninstall(self, release: Release) -> None:
        """Remove a release that may be there.

        Raises:
            CommandError: Helm says no.
        """
        self._ask(("uninstall", "--ignore-not-found", "--cascade", "foreground", release.name), release)

    def objects(self, release: Release, spec: LabSpec, variant: Variant) -> list[Object]:
        """The objects that a release is made of, whether it is there or not.

        Raises:
            CommandError: Helm says no.
        """
        path = self.values_file(release)
        if not path.exists():
            path.write_text(yamlio.dumps(release.values(spec, variant)), encoding="utf-8")
        with told_of_version(spec, variant, release):
            return self._helm.template(self.chart(release), release, path, spec.kubernetes.version)

    def _ask(self, words: tuple[str | Path, ...], release: Release) -> None:
        kubeconfig = ("--kubeconfig", self._place.client_kubeconfig, "--namespace", release.namespace)
        self._helm.run((*words, *kubeconfig))


class Helm:
    """The program, in directories of its own.

    Args:
        program: Helm.
        folder: Gets its directories.
        runner: Runs it.
        environ: The caller's environment: what a user tells helm there is not for labs.
    """

    def __init__(self, program: Path, folder: Path, runner: Runner, environ: Mapping[str, str] = os.environ) -> None:
        self._runner = runner
        # `helm env` names the directories; its discovery cache would be in ~/.kube.
        own = {
            "HELM_CACHE_HOME": folder / "cache",
            "HELM_CONFIG_HOME": folder / "config",
            "HELM_DATA_HOME": folder / "data",
            "KUBECACHEDIR": folder / "discovery",
        }
        unset = (f"--unset={name}" for name in sorted(environ) if name.startswith("HELM_"))
        self.prefix: tuple[str | Path, ...] = (
            "env",
            *unset,
            *(f"{name}={path}" for name, path in own.items()),
            program,
        )

    def run(self, words: tuple[str | Path, ...]) -> str:
        """Run it to the end; what it printed.

        Raises:
            CommandError: Helm says no.
        """
        done = self._runner.run((*self.prefix, *words), timeout=timeouts.HELM, check=False)
        if not done.ok:
            msg = f"helm {words[0]} failed with exit status {done.returncode}"
            raise CommandError(msg, done)
        return done.stdout

    def template(self, chart: Path, release: Release, values: Path, kubernetes: str) -> list[Object]:
        """What helm makes of a chart and values, without asking any cluster.

        Args:
            chart: Its folder.
            release: Which one.
            values: The values document.
            kubernetes: The version of Kubernetes that it is for; charts ask for it.

        Raises:
            CommandError: Helm says no.
        """
        words: tuple[str | Path, ...] = ("template", release.name, chart, "--namespace", release.namespace)
        words += ("--values", values, "--kube-version", kubernetes)
        return [item for item in yamlio.loads_all(self.run(words)) if item]


@contextmanager
def told_of_version(spec: LabSpec, variant: Variant, release: Release) -> Iterator[None]:
    """Errors of helm say, where it is so, that a variant's values are not made for the chart's version."""
    try:
        yield
    except CommandError as error:
        if spec.cni_version:
            error.next_step = (
                f"the values of the variant '{variant.name}' are made for the pinned version, and this is the chart of "
                f"{release.name} {spec.cni_version}: choose a version nearer the pinned one, or another variant"
            )
        raise


def unknown_values(values: Mapping[str, Any], defaults: Mapping[str, Any], above: str = "") -> list[str]:
    """Values, by their paths, that a chart does not know: Helm says nothing of them.

    Args:
        values: What it is told.
        defaults: Its values.yaml; a table without a key there may have any.
        above: Path of both.
    """
    found = []
    for key, value in values.items():
        path = f"{above}{key}"
        if key not in defaults:
            found.append(path)
        elif isinstance(value, Mapping) and isinstance(defaults[key], Mapping) and defaults[key]:
            found += unknown_values(value, defaults[key], f"{path}.")
    return found


def unpack(store: Store, component: str, target: Path, name: str = CHART) -> None:
    """Unpack a component's chart, or another archive of it, in place of what is there."""
    archive = store.ensure([component])[component].directory / name
    shutil.rmtree(target, ignore_errors=True)
    with tarfile.open(archive) as tar:
        for info in tar:
            if (file := tar.extractfile(info)) is not None:
                path = target / info.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read())


def _forget_interrupted(api: Kube, release: Release) -> None:
    """Helm refuses to go on where an earlier one was killed: its word that it was at work is taken back."""
    for secret in records(api, release):
        if secret["metadata"]["labels"].get("status") in _PENDING:
            api.delete([secret])


def records(api: Kube, release: Release) -> list[Object]:
    """The Secrets in which helm keeps what it installed."""
    return api.list("v1", "Secret", release.namespace, labels=f"{_OWNED},name={release.name}")
