"""`cnilab up --dry-run`: what would be made, of what, and nothing is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from harness.cli.context import say
from harness.cli.output import Listing, emit
from harness.cli.stores import store_for
from harness.errors import CnilabError

if TYPE_CHECKING:
    from harness.components.own import Brought
    from harness.components.store import Store
    from harness.model.spec import LabSpec

Row = tuple[str, str, str]
"""What it is, its name, and what is known of it."""


def show(spec: LabSpec, brought: Brought, output: str) -> None:
    """Print the kernel, nodes, components with their digests, images and files of a lab.

    Args:
        spec: The lab.
        brought: What its user brings.
        output: Format; see `output.FORMATS`.
    """
    from harness.cni.catalogue import variant  # noqa: PLC0415 - the help must not wait for these
    from harness.components import carry  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.needs import components, images  # noqa: PLC0415
    from harness.steps.render import ALTERNATIVES, render  # noqa: PLC0415

    chosen = variant(spec.cni)
    store = store_for(spec, Journal(None))
    wanted = images(chosen)
    taken = components(spec, store)
    there = [one for one in carry.list_components(store) if one.name in taken]
    files = {path: text for path, text in render(spec, chosen).items() if not path.startswith(ALTERNATIVES)}
    rows = [_kernel(spec.kernel, store)] if spec.kernel != "host" else []
    rows += [("node", name, f"{spec.provider}, {spec.node_address(name)}") for name in spec.node_names]
    rows += [
        ("component", f"{one.name} {one.version or one.pinned}", f"{one.state} {one.digest[:12]}".strip())
        for one in there
    ]
    rows += [("program", name, f"of your own: {file}") for name, file in sorted(brought.programs.items())]
    rows += [_node_image()] if spec.provider == "kind" else []
    # kind's nodes bring another pause; see harness.steps.up_kind.
    loaded = [one for one in wanted if (spec.provider, one) != ("kind", "pause")]
    rows += [("image", one, _source(store, one, brought)) for one in store.image_references(loaded)]
    rows += [("file", path, f"{len(text.encode())} bytes") for path, text in files.items()]
    items = [{"what": what, "name": name, "detail": detail} for what, name, detail in rows]
    extra = {"lab": spec.name, "variant": spec.cni, "provider": spec.provider}
    names = [f"{what}/{name}" for what, name, _ in rows]
    emit(Listing("PlannedItem", ("what", "name", "detail"), rows, items, names, extra=extra), output)
    missing = [one.name for one in there if one.state != "cached"]
    first = f"; would be had first: {', '.join(missing)}" if missing else ""
    say(f"Lab '{spec.name}' would be made of this{first}. Nothing was. 'cnilab render' shows what is in the files.")


def _source(store: Store, reference: str, brought: Brought) -> str:
    """Where an image comes from."""
    from harness.components import given, recipes  # noqa: PLC0415

    if reference in brought.images:
        return f"your own: {brought.images[reference]}"
    if all(image.reference != reference for image in recipes.images(store.lock) if image.given):
        return "made of components"
    there = given.where(store.cache, reference).is_file()
    return "your own: cached" if there else "your own to bring: see cnilab components add"


def _kernel(name: str, store: Store) -> Row:
    """The kernel of the lab's virtual machine: the one in the cache, else the package that would be downloaded."""
    from harness.components import kernel  # noqa: PLC0415
    from harness.components.lock import architecture  # noqa: PLC0415

    found = kernel.cached(store, name)
    if found is not None:
        return ("kernel", f"{name} {found.release}", "cached, in a virtual machine")
    package = kernel.PACKAGES[name].format(arch=architecture())
    return ("kernel", name, f"would be downloaded: package {package}; in a virtual machine")


def _node_image() -> Row:
    """The image of kind's nodes, as far as it can be known by asking the engine, and by nothing more."""
    from harness.providers.kind.engine import Engine  # noqa: PLC0415 - Docker's SDK takes a quarter of a second
    from harness.steps.up_kind import IMAGE_VARIABLE, PUBLISHED, known_image  # noqa: PLC0415

    named = os.environ.get(IMAGE_VARIABLE, "")
    name, _, digest = (named or PUBLISHED).partition("@sha256:")
    try:
        found = known_image(Engine())
    except CnilabError:  # no engine, or one in trouble: the plan is shown all the same
        if named:
            return ("image", name, f"of the nodes; found when it comes up {digest[:12]}".strip())
        return ("image", "kind's node image", f"found when it comes up: one built here, or {name} {digest[:12]}")
    if found and found.partition("@")[0] != name:
        return ("image", found, "of the nodes; the newest that was built here")
    return ("image", name, f"of the nodes; {'the engine has it' if found else 'would be pulled'} {digest[:12]}".strip())
