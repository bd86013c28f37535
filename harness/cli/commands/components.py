"""`cnilab components`."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import click

from harness.cli import listings
from harness.cli.command import Command, Group, Option
from harness.cli.context import say, settings, shown
from harness.cli.output import emit, output_option
from harness.cli.progress import progress
from harness.cli.stores import whole_store
from harness.errors import PreflightError, UsageError


@click.group(
    "components",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples="""
    cnilab components ensure
    cnilab components list -o wide
    cnilab components export components.tar
    """,
)
def command() -> None:
    """Manage the programs of clusters: where they come from, and whether they are intact.

    Sources are tried in the order of CNILAB_SOURCES (cache,system,package,release,build). CNILAB_OFFLINE=1 excludes
    those that need a network.
    """


def _version(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    from harness.model.spec import KUBERNETES_VERSION  # noqa: PLC0415

    if value is not None and not re.fullmatch(KUBERNETES_VERSION, value):
        msg = f"'{shown(value)}' is not a version of Kubernetes, as 1.36 or 1.36.3"
        raise click.BadParameter(msg)
    return value


_kubernetes = click.option(
    "--kubernetes",
    metavar="VERSION",
    callback=_version,
    help="Version of Kubernetes of a cluster, minor or full.  [default: that of a spec which names none]",
)


@command.command(
    "list",
    cls=Command,
    examples="""
    cnilab components list
    cnilab components list -o wide
    cnilab components list --kubernetes 1.36
    cnilab components list -o json | jq -r '.items[] | select(.state != "cached") | .name'
    """,
)
@_kubernetes
@output_option()
def list_(*, kubernetes: str | None, output: str) -> None:
    """List all components, and show which of them are in the cache."""
    from harness.components import carry  # noqa: PLC0415 - the help must not wait for pydantic

    emit(listings.of_components(carry.list_components(whole_store(kubernetes=kubernetes))), output)


@command.command(
    "ensure",
    cls=Command,
    examples="""
    cnilab components ensure
    cnilab components ensure kubernetes flannel
    cnilab components ensure --kubernetes 1.36
    CNILAB_SOURCES=cache,build cnilab components ensure
    ln -s "$(cnilab components ensure kubectl -o json | jq -r '.items[].path')" ~/bin/kubectl
    """,
)
@click.argument("wanted", metavar="[NAME]...", nargs=-1)
@_kubernetes
@output_option()
def ensure(wanted: tuple[str, ...], *, kubernetes: str | None, output: str) -> None:
    """Make components available now. Otherwise up does it on its first run.

    Without names: all components except those that only some providers need. A NAME may also be a program, such as
    kubectl. The path is then the path of this program.
    """
    with progress() as listener:
        store = whole_store(listener, kubernetes)
        names = wanted or sorted(store.lock.everywhere)
        found = store.ensure(names)
        asked = [replace(found[store.lock.find(name).name], path=store.program(name)) for name in names]
    emit(listings.of_delivered(asked), output)


@command.command(
    "outdated",
    cls=Command,
    examples="""
    cnilab components outdated
    cnilab components outdated -o wide
    cnilab components outdated -o json | jq -r '.items[] | select(.state == "behind") | .name'
    """,
)
@output_option()
def outdated(*, output: str) -> None:
    """Compare pinned components and Go with their newest releases. This asks the Go module proxy and changes nothing.

    Other pinned versions of Kubernetes are compared with the newest patch of their own minor version.
    """
    from harness.components.lock import load  # noqa: PLC0415
    from harness.components.outdated import ages  # noqa: PLC0415
    from harness.runner import HostRunner  # noqa: PLC0415

    found = ages(load(), HostRunner(), settings().cache)
    emit(listings.of_ages(found), output)
    if unknown := [one for one in found if one.state == "unknown"]:
        say(f"no result for {len(unknown)} of {len(found)}: {unknown[0].reason}")


@command.command(
    "build-node-image",
    cls=Command,
    examples="""
    cnilab components build-node-image
    cnilab components build-node-image --kubernetes 1.36
    cnilab components build-node-image && cnilab up --provider kind
    kind create cluster --image "$(cnilab components build-node-image -q)"
    """,
)
@click.option("--again", is_flag=True, help="Make the image even if the engine has it.")
@_kubernetes
def build_node_image(*, again: bool, kubernetes: str | None) -> None:
    """Make kind's node image from components, without a registry, and load it into the Docker engine.

    The command prints the name of the image. The name changes if any part of the image changes. It needs root, and for
    its first run a mirror of the distribution.
    """
    from harness.providers.kind.engine import Engine  # noqa: PLC0415
    from harness.providers.kind.node_image import build  # noqa: PLC0415

    with progress() as listener:
        click.echo(build(whole_store(listener, kubernetes), Engine(), again=again))


@command.command(
    "build-box",
    cls=Command,
    examples="""
    cnilab components build-box
    vagrant box add --name cnilab/node "$(cnilab components build-box -q)"
    cnilab components build-box --ssh-key ~/.ssh/id_ed25519.pub
    """,
)
@click.option(
    "--ssh-key",
    "key",
    cls=Option,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Public key for the login. By default it is Vagrant's own, which Vagrant replaces at its first login.",
)
@click.option("--again", is_flag=True, help="Make the box even if the cache has it.")
@_kubernetes
def build_box(key: Path | None, *, again: bool, kubernetes: str | None) -> None:
    """Make a box for Vagrant with libvirt. It contains everything that a cluster needs, so nothing is downloaded.

    The command prints the path of the box. The path changes if any part of the box changes. It needs root, and for its
    first run a mirror of the distribution.
    """
    from harness.components import box  # noqa: PLC0415

    with progress() as listener:
        store = whole_store(listener, kubernetes)
        text = key.read_text(encoding="utf-8", errors="replace").strip() if key else box.INSECURE_KEY
        path = box.deliver(store, text, again=again)
    click.echo(str(path))


@command.command(
    "images",
    cls=Command,
    examples="""
    cnilab components images responder toolbox
    skopeo copy docker-archive:$(cnilab components images responder) docker://registry.example/responder:1
    docker load -i "$(cnilab components images toolbox)"
    """,
)
@click.argument("wanted", metavar="NAME...", nargs=-1, required=True)
def images(wanted: tuple[str, ...]) -> None:
    """Build images of a cluster and print the paths of their archives. Push them to a registry of a cluster.

    An archive is an OCI image layout with Docker's manifest beside it.
    """
    with progress() as listener:
        paths = whole_store(listener).image_archives(wanted)
    for path in paths:
        click.echo(str(path))


@command.command(
    "verify",
    cls=Command,
    examples="""
    cnilab components verify
    cnilab components verify -o wide
    cnilab components verify -q && echo whole
    """,
)
@output_option()
def verify(*, output: str) -> int:
    """Read every cached component again, and compare it with the digest recorded when it was stored.

    The Go that builds use is compared with the sum in the lock. Exit code 10 means that something was damaged. It is
    removed from the cache, and 'ensure' fetches it again.
    """
    from harness.components import carry  # noqa: PLC0415

    store = whole_store()
    found = [*carry.verify(store), *carry.verify_toolchain(store)]
    emit(listings.of_components(found), output)
    return PreflightError.exit_code if any(one.state == "damaged" for one in found) else 0


@command.command(
    "export",
    cls=Command,
    examples="""
    cnilab components export cnilab-components.tar
    cnilab components export components.tar.gz
    cnilab components export --kubernetes 1.36 components-1.36.tar
    cnilab components export /media/usb/components.tar && sync
    """,
)
@click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
@_kubernetes
def export(archive: Path, *, kubernetes: str | None) -> None:
    """Write all cached components to one archive, for a machine without a network."""
    from harness.components import carry  # noqa: PLC0415

    for status in carry.export(whole_store(kubernetes=kubernetes), archive):
        click.echo(f"component/{status.name}")


@command.command(
    "import",
    cls=Command,
    examples="""
    cnilab components import cnilab-components.tar
    cnilab --cache /srv/cnilab components import components.tar
    cnilab components import components.tar && CNILAB_OFFLINE=1 cnilab up
    """,
)
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(archive: Path) -> None:
    """Import components from an archive into the cache. The digest of every file is checked."""
    from harness.components import carry  # noqa: PLC0415

    for entry in carry.import_(whole_store(), archive):
        click.echo(f"component/{entry.name}")


@command.command(
    "add",
    cls=Command,
    examples="""
    cnilab components add weave.tar
    cnilab --cache /srv/cnilab components add /media/usb/weave.tar
    cnilab components add weave.tar && cnilab up weave --kernel debian
    cnilab components add cilium.tar && cnilab up cilium --cni-version 1.19.4
    """,
)
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def add(archive: Path) -> None:
    """Add images that this program neither builds nor downloads, as archives of 'docker save'.

    These are weave's images. For another version of a network, they are the images that 'up --cni-version' would
    otherwise pull.
    """
    from harness.components import given  # noqa: PLC0415

    for reference in given.add(whole_store(), archive):
        click.echo(f"image/{reference}")


@command.command(
    "prune",
    cls=Command,
    examples="""
    cnilab components prune
    cnilab down --all && cnilab components prune
    cnilab components prune | wc -l
    """,
)
def prune() -> None:
    """Remove from the cache what this version does not use, and what it can make again from the rest.

    The former are other versions of components, of Go and of kernels, and other systems for boxes and node images. The
    latter are images, containerd's roots and boxes. Pulled images and your own programs are removed too. What you added
    with 'components add' stays. No cluster may be up, because its nodes run programs from the cache.
    """
    from harness.cli.select import names  # noqa: PLC0415
    from harness.components.prune import prune as cut  # noqa: PLC0415

    if names():
        msg = "clusters are up and run programs from the cache"
        raise UsageError(msg, cause=", ".join(names()), next_step="cnilab down --all")
    for path in cut(whole_store()):
        click.echo(str(path))


@command.command(
    "uninstall",
    cls=Command,
    examples="""
    cnilab components uninstall --dry-run
    cnilab down --all && cnilab components uninstall
    cnilab components uninstall --yes -o name
    """,
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed. Remove nothing.")
@click.option("-y", "--yes", cls=Option, is_flag=True, help="Do not ask for confirmation.")
@output_option()
def uninstall(*, dry_run: bool, yes: bool, output: str) -> None:
    """Remove only the packages that this program installed with apt. Show them and ask first.

    A package stays if other packages on the machine now need or recommend it. No cluster may be up, because its nodes
    run the machine's programs. The cache has the list of installed packages: run this command before you remove the
    cache.
    """
    from harness.cli.select import names  # noqa: PLC0415

    installed = whole_store().installed
    found = installed.removal()
    emit(listings.of_packages(found), output)
    if dry_run or not found.removed:
        return
    if names():
        msg = "clusters are up and run programs of these packages"
        raise UsageError(msg, cause=", ".join(names()), next_step="cnilab down --all")
    if os.geteuid():
        msg = "removing packages needs root"
        raise PreflightError(msg, next_step="run it with sudo and the same cache: CNILAB_CACHE")
    if not yes and not sys.stdin.isatty():
        msg = "cannot ask for confirmation: standard input is not a terminal"
        raise UsageError(msg, next_step="to remove these packages, give --yes")
    if yes or click.confirm(f"Remove {len(found.removed)} packages?", err=True):
        installed.remove(found.removed)
        say(f"{len(found.removed)} packages were removed.")


@command.command(
    "pin",
    cls=Command,
    examples="""
    cnilab components pin
    cnilab components pin coredns etcd --dry-run
    cnilab components pin -o json | jq -r '.items[] | select(.action == "change") | .url'
    """,
)
@click.argument("wanted", metavar="[NAME]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Show what is published. Do not change the lock.")
@output_option()
def pin(wanted: tuple[str, ...], *, dry_run: bool, output: str) -> int:
    """Fetch published checksums over TLS and write them into components.lock. This is for its maintainers.

    Afterwards a release is accepted only if it has that digest. Before you commit the change, compare the checksums
    with a second source of the project. Exit code 10 means that a checksum could not be fetched.
    """
    from harness import files, resources  # noqa: PLC0415
    from harness.components import pin as pins  # noqa: PLC0415
    from harness.components.lock import load  # noqa: PLC0415

    path = resources.root() / "components.lock"
    digests, outcomes = pins.look(load(path), wanted)
    if not dry_run:
        files.replace(path, pins.written(path.read_text(encoding="utf-8"), digests))
    emit(listings.of_digests(outcomes), output)
    return PreflightError.exit_code if any(one.action == "fail" for one in outcomes) else 0
