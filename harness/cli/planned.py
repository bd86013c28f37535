"""`cnilab up --dry-run`: what would be made, of what, and nothing is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.cli.context import say
from harness.cli.output import Listing, emit
from harness.cli.stores import store_for
from harness.errors import CnilabError

if TYPE_CHECKING:
    from harness.components.own import Offer
    from harness.components.store import Store
    from harness.model.spec import LabSpec


@dataclass(frozen=True)
class Item:
    """One thing of a cluster.

    Args:
        what: Its kind.
        name: What it is called.
        detail: What is known of it, for people.
        fields: The same for programs.
        label: More than its name in the table; empty: the name.
    """

    what: str
    name: str
    detail: str
    fields: dict[str, Any] = field(default_factory=dict)
    label: str = ""


def show(spec: LabSpec, offer: Offer, output: str) -> None:
    """Print the kernel, nodes, components and programs, images and files of a cluster.

    Args:
        spec: The cluster's.
        offer: What its user brings.
        output: Format; see `output.FORMATS`.
    """
    from harness.model.journal import Journal  # noqa: PLC0415 - the help must not wait for these
    from harness.providers.needs import needs  # noqa: PLC0415

    store = store_for(spec, Journal(None))
    wanted = needs(spec, store)
    components = list(_components(store, wanted.components))
    images = list(_images(store, wanted.images, offer))
    items = [
        *([_kernel(spec.kernel, store)] if spec.kernel != "host" else []),
        *_nodes(spec),
        *components,
        *(Item("program", name, f"your own: {path}", {"path": str(path)}) for name, path in offer.programs.items()),
        *([_node_image(spec.kubernetes.version)] if spec.provider == "kind" else []),
        *images,
        *_files(spec, store),
    ]
    first = [one.name for one in components if one.fields["state"] != "cached"]
    asked = [one.name for one in images if one.fields["source"] == "missing"]
    rows = [(one.what, one.label or one.name, one.detail) for one in items]
    data = [{"what": one.what, "name": one.name, "detail": one.detail, **one.fields} for one in items]
    names = [f"{one.what}/{one.name}" for one in items]
    extra = {"lab": spec.name, "variant": spec.cni, "provider": spec.provider, "missing": first, "toBring": asked}
    emit(Listing("PlannedItem", ("what", "name", "detail"), rows, data, names, extra=extra), output)
    had = f"; would be fetched or built first: {', '.join(first)}" if first else ""
    brought = f"; you must add first: {', '.join(asked)}" if asked else ""
    say(
        f"Cluster '{spec.name}' would be made of this{had}{brought}. Nothing was changed. "
        "'cnilab render' shows the files."
    )


def _kernel(name: str, store: Store) -> Item:
    """The kernel of the cluster's virtual machine: the one in the cache, else the package that would be downloaded."""
    from harness.components import kernel_package  # noqa: PLC0415
    from harness.components.lock import architecture  # noqa: PLC0415

    found = kernel_package.cached(store, name)
    if found is not None:
        known = {"state": "cached", "release": found.release}
        return Item("kernel", name, "cached, in a virtual machine", known, f"{name} {found.release}")
    package = kernel_package.PACKAGES[name].format(arch=architecture())
    detail = f"would be downloaded: package {package}; in a virtual machine"
    return Item("kernel", name, detail, {"state": "missing", "package": package})


def _nodes(spec: LabSpec) -> Iterator[Item]:
    for name in spec.node_names:
        addresses = [str(address) for address in spec.all_addresses(name)]
        known = {"address": addresses[0], "addresses": addresses}
        yield Item("node", name, f"{spec.provider}, {', '.join(addresses)}", known)


def _components(store: Store, names: tuple[str, ...]) -> Iterator[Item]:
    """Programs of the provider and the network, and what images are made of, with what the cache has of them."""
    from harness.components import carry  # noqa: PLC0415

    for one in carry.list_components(store):
        if one.name in names:
            version = one.version or one.pinned
            known = {"version": version, "state": one.state, "digest": one.digest}
            detail = f"{one.state} {one.digest[:12]}".strip()
            yield Item("component", one.name, detail, known, f"{one.name} {version}")


def _images(store: Store, names: tuple[str, ...], offer: Offer) -> Iterator[Item]:
    """Images that the nodes are given, and where each comes from."""
    from harness.components import given, mirrors, pull, recipes  # noqa: PLC0415

    theirs = {image.reference: image for image in recipes.images(store.lock) if image.foreign}
    for reference in store.image_references(names):
        image = theirs.get(reference)
        if reference in offer.images:
            path = offer.images[reference]
            yield Item("image", reference, f"your own: {path}", {"source": "offered", "path": str(path)})
        elif image is None:
            yield Item("image", reference, "made of components", {"source": "components"})
        elif given.place(store.cache, image).is_file():
            yield Item("image", reference, "added by you: in the cache", {"source": "brought"})
        elif image.pulled:
            there = pull.place(store.cache, image).is_file()
            source = mirrors.source(reference, store.mirrors)
            detail = "pulled: in the cache" if there else f"would be pulled from {source}"
            yield Item("image", reference, detail, {"source": "pulled", "state": "cached" if there else "missing"})
        else:
            yield Item("image", reference, "missing; add it with cnilab components add", {"source": "missing"})


def _files(spec: LabSpec, store: Store) -> Iterator[Item]:
    from harness.cni import catalogue  # noqa: PLC0415
    from harness.steps.lifecycle.render import charted, render  # noqa: PLC0415

    chosen = catalogue.of(spec)
    files = render(spec, chosen)
    if spec.cni_version:
        files = dict(sorted({**files, **charted(store, spec, chosen)}.items()))
    for path, text in files.items():
        size = len(text.encode())
        yield Item("file", path, f"{size} bytes", {"bytes": size})


def _node_image(version: str) -> Item:
    """The image of kind's nodes, as far as it can be known by asking the engine, and by nothing more."""
    from harness.providers.kind.bring_up import IMAGE_VARIABLE, PUBLISHED, known_image  # noqa: PLC0415
    from harness.providers.kind.engine import Engine  # noqa: PLC0415 - Docker's SDK takes a quarter of a second

    named = os.environ.get(IMAGE_VARIABLE, "")
    name, _, digest = (named or PUBLISHED).partition("@sha256:")
    what, short = "node-image", digest[:12]
    try:
        found = known_image(Engine(), version)
    except CnilabError:  # no engine, or one in trouble: the plan is shown all the same
        if named:
            return Item(what, name, f"chosen at bring-up {short}".strip(), {"state": "unknown"})
        detail = f"chosen at bring-up: one built here, or {name} {short}"
        return Item(what, name, detail, {"state": "unknown"}, "kind's node image")
    if found and found.partition("@")[0] != name:
        return Item(what, found, "the newest that was built here", {"state": "present"})
    state = "present" if found else "missing"
    detail = f"{'the engine has it' if found else 'would be pulled'} {short}".strip()
    return Item(what, name, detail, {"state": state})
