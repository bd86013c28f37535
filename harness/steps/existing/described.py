"""A cluster that is not ours as a spec, before its network is known."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.cni import recognise
from harness.model.spec import LabSpec
from harness.providers.existing import families
from harness.steps.existing.preflight import Survey


def described_before(
    found: Survey, places: Mapping[str, str] | None = None, seconds: Mapping[str, str] | None = None
) -> LabSpec:
    """The cluster as a spec, as far as the preflight knows it.

    Args:
        found: What the preflight found.
        places: Name and address of the nodes, when they are known.
        seconds: The same in the other family of a cluster that has both.
    """
    has = families.distinct((places or {}).values()) or found.families
    second = {name: address for name, address in (seconds or {}).items() if address and name in (places or {})}
    dual = len(found.families) > 1 and set(second) == set(places or {})
    return LabSpec.model_validate(
        {
            "name": name_of(found.access.context),
            "provider": "existing",
            "cni": found.wish.cni or recognise.GENERIC,
            "nodes": len(places or ()) or 1,
            "ipFamily": "dual" if dual else has[0],
            "primaryFamily": has[0] if dual else None,
            "nodeAddresses": dict(places or {}),
            "secondAddresses": second if dual else {},
            "kubernetes": {"version": found.version},
        }
    )


def name_of(context: str) -> str:
    """A context as the name of a lab: a short DNS label."""
    label = re.sub(r"[^a-z0-9]+", "-", context.lower()).strip("-")[:30].strip("-")
    return label or "cluster"
