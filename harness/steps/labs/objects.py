"""Objects of labs: rendered from their manifests, and there again before a lab that needs them begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import timeouts, yamlio
from harness.cluster.kube import Kube
from harness.cluster.readiness import called, insist, unready
from harness.model.expression import evaluate, render
from harness.model.lab import LabDefinition

Object = dict[str, Any]

EACH = "each"
"""Key of a manifest's document, not of Kubernetes: an expression; the object is made for each `item` of it."""


def manifests(labs: Sequence[LabDefinition], root: Path, facts: Mapping[str, Any]) -> list[Object]:
    """All objects of all labs, each once, with their expressions replaced.

    Args:
        labs: Whose manifests.
        root: Where `labs/` is.
        facts: Variables of expressions; a lab's own `param` is added.
    """
    objects: dict[tuple[str, str, str], Object] = {}
    for lab in labs:
        context = {**facts, "param": lab.parameters, "lab": lab.id}
        for name in lab.manifests:
            text = (root / "labs" / lab.id / name).read_text(encoding="utf-8")
            for document in yamlio.loads_all(text):
                for item in evaluate(document.pop(EACH), context) if EACH in document else [None]:
                    made = _rendered(document, {**context, "item": item})
                    meta = made["metadata"]
                    objects[made["kind"], meta.get("namespace", ""), meta["name"]] = made
    return sorted(objects.values(), key=lambda made: made["kind"] != "Namespace")


def _rendered(value: Any, context: Mapping[str, Any]) -> Any:
    """Expressions are replaced inside single values, after parsing: none can add structure to a document."""
    if isinstance(value, dict):
        return {key: _rendered(item, context) for key, item in value.items()}
    if isinstance(value, list):
        return [_rendered(item, context) for item in value]
    return render(value, context) if isinstance(value, str) else value


def bring_back(api: Kube, objects: Iterable[Object], deadline: float = timeouts.ROLLOUT) -> list[str]:
    """Create objects that are missing, and wait until all of them are up.

    A lab begins with what its manifests say, whatever an earlier one took along: a lab that broke off, or one that
    deletes every pod of the cluster because they have a new network.

    Args:
        api: The cluster.
        objects: What must be there, namespaces first.
        deadline: Seconds, before scaling.

    Returns:
        What was created: `Pod labs/box1`.

    Raises:
        BringUpError: Something is not up in time; names each, and why.
        ApiError: An object was refused.
    """
    wanted = list(objects)
    created: list[str] = []

    def all_there() -> bool:
        found = [_get(api, item) for item in wanted]
        missing = [item for item, now in zip(wanted, found, strict=True) if now is None]
        api.apply(missing)
        created.extend(map(_full, missing))
        waiting = {_full(item): "it was missing and is created again" for item in missing}
        waiting |= {_full(now): reason for now in found if now is not None and (reason := unready(now))}
        insist(waiting)
        return True

    timeouts.wait_until("the objects of the lab to be up", all_there, deadline, interval=0.1)
    return created


def settle(api: Kube, deadline: float = timeouts.ROLLOUT) -> None:
    """Wait until no pod of the cluster is being removed.

    A pod that goes while the next lab has changed the node's plugins leaves its address, or its rules, behind.

    Args:
        api: The cluster.
        deadline: Seconds, before scaling.

    Raises:
        BringUpError: Pods do not go in time; names each.
        ApiError: The API server refused.
    """

    def none_goes() -> bool:
        going = (pod["metadata"] for pod in api.list("v1", "Pod") if pod["metadata"].get("deletionTimestamp"))
        insist({f"Pod {meta['namespace']}/{meta['name']}": "it is being removed" for meta in going})
        return True

    timeouts.wait_until("removed pods to be gone", none_goes, deadline, interval=0.1)


def _get(api: Kube, item: Object) -> Object | None:
    meta = item["metadata"]
    return api.get(item["apiVersion"], item["kind"], meta["name"], meta.get("namespace", ""))


def _full(item: Object) -> str:
    return f"{item['kind']} {called(item)}"
