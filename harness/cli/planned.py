"""`cnilab up --dry-run`: what would be made, of what, and nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cli.context import say
from harness.cli.output import Listing, emit
from harness.cli.stores import store_for

if TYPE_CHECKING:
    from harness.model.spec import LabSpec


def show(spec: LabSpec) -> None:
    """Print components with their digests, images and files of a lab.

    Args:
        spec: The lab.
    """
    from harness.cni.catalogue import variant  # noqa: PLC0415 - the help must not wait for these
    from harness.components import carry  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps import up_kind, up_namespaces  # noqa: PLC0415
    from harness.steps.render import render  # noqa: PLC0415
    from harness.steps.up import images  # noqa: PLC0415

    chosen = variant(spec.cni)
    store = store_for(spec, Journal(None))
    made_here = {"namespaces": up_namespaces.PROGRAMS, "kind": up_kind.PROGRAMS}
    wanted = {*made_here.get(spec.provider, ()), *store.cni_components(), *store.image_components(images(chosen))}
    components = [one for one in carry.list_components(store) if one.name in wanted]
    files = render(spec, chosen)
    references = store.image_references(images(chosen))
    rows = [("node", name, f"{spec.provider}, {spec.node_address(name)}") for name in spec.node_names]
    rows += [
        ("component", f"{one.name} {one.version or one.pinned}", f"{one.state} {one.digest[:12]}".strip())
        for one in components
    ]
    rows += [("image", reference, "made of components") for reference in references]
    rows += [("file", path, f"{len(text.encode())} bytes") for path, text in files.items()]
    emit(Listing("PlannedItem", ("what", "name", "detail"), rows, ()), "table")
    missing = [one.name for one in components if one.state != "cached"]
    first = f"; would be had first: {', '.join(missing)}" if missing else ""
    say(f"Lab '{spec.name}' would be made of this{first}. Nothing was. 'cnilab render' shows what is in the files.")
