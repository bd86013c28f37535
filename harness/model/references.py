"""What a cluster spec names outside of itself: variants, labs, versions, IP families. All of it is asked of others."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from harness.errors import Problem
from harness.model.family import FAMILIES, TITLE, Family, IpFamily
from harness.model.hints import Path_, nearest
from harness.model.plain import dotted_path, seen
from harness.model.spec import ALL_LABS, CNI_VERSION, MAX_MTU, MIN_IPV6_MTU, LabSpec

Locate = Callable[[Path_], str]
"""Where the value at a path stands: `file:line:column`, or the option that set it."""

NO_IPV6: Final = "ipv6.disable=1"
"""Argument of a kernel that is to have no IPv6 at all (networking/ipv6)."""

_CNI: Final = LabSpec().cni
_MTU: Final = LabSpec().underlay.mtu
_FAMILY: Final = LabSpec().ip_family


@dataclass(frozen=True)
class Known:
    """Names, versions and abilities that a spec may refer to; what is empty or None is not checked.

    Args:
        variants: Names of all CNI variants.
        labs: Ids of all labs.
        pinned: Minor versions of Kubernetes that are made here.
        network: Says which version of its network a variant has unasked; empty for one that has none.
        families: Says which IP families a variant can give to pods.
        provided: Says which IP families a provider can give to nodes.
        pod_mtu: Says how large a pod's IPv6 packet may be, of a variant, a version of its network and the underlay's
            MTU.
        usual: Says which IP families a cluster of a variant on a provider has unasked.
        machine: Says why this machine cannot have IPv6; empty where it can.
        note: Hears what was decided for a spec that leaves it open, where its author may expect something else.
    """

    variants: Collection[str]
    labs: Collection[str] = ()
    pinned: Collection[str] = ()
    network: Callable[[str], str] | None = None
    families: Callable[[str], Collection[str]] | None = None
    provided: Callable[[str], Collection[str]] | None = None
    pod_mtu: Callable[[str, str, int], int] | None = None
    usual: Callable[[str, str], IpFamily] | None = None
    machine: Callable[[], str] | None = None
    note: Callable[[str], None] | None = None


def problems(document: Mapping[str, Any], locate: Locate, known: Known) -> Iterator[Problem]:
    """What a document refers to in vain. What is wrong with the form of a value is not said again.

    Args:
        document: As data.
        locate: Says where a value stands.
        known: What there is.
    """
    spec = document.get("spec", {})
    if not isinstance(spec, dict):
        return
    cni = spec.get("cni")
    if isinstance(cni, str) and cni not in known.variants:
        choices = "one of " + ", ".join(sorted(known.variants))
        yield Problem(locate(("spec", "cni")), "spec.cni", f"is {seen(cni)}", choices, nearest(cni, known.variants))
    yield from _kubernetes(spec, locate, known.pinned)
    yield from _network_version(spec, locate, known)
    yield from _families(spec, locate, known)
    yield from _room(spec, locate, known)
    for index, lab in enumerate(spec["labs"]) if known.labs and isinstance(spec.get("labs"), list) else ():
        if isinstance(lab, str) and lab not in {*known.labs, ALL_LABS}:
            hint = nearest(lab, known.labs) or "'cnilab labs list' shows all"
            yield Problem(locate(("spec", "labs", index)), f"spec.labs.{index}", f"is {seen(lab)}", "a lab's id", hint)


def _kubernetes(spec: Mapping[str, Any], locate: Locate, pinned: Collection[str]) -> Iterator[Problem]:
    """A minor version that is not pinned says nothing about the patch, so there is nothing to get."""
    section = spec.get("kubernetes")
    version = section.get("version") if isinstance(section, dict) else None
    made_here = spec.get("provider", "namespaces") in ("namespaces", "kind")
    if pinned and made_here and isinstance(version, str) and version.count(".") == 1 and version not in pinned:
        path: Path_ = ("spec", "kubernetes", "version")
        hint = "a full version is downloaded as a release"
        choices = f"{', '.join(pinned)}, or a full version"
        yield Problem(locate(path), dotted_path(path), f"is {seen(version)}", choices, hint)


def _network_version(spec: Mapping[str, Any], locate: Locate, known: Known) -> Iterator[Problem]:
    """What is nothing but settings of nodes has no version of its own; and a cluster of others has the one it has."""
    version, cni = spec.get("cniVersion"), spec.get("cni", _CNI)
    if known.network is None or not isinstance(version, str) or cni not in known.variants:
        return
    path: Path_ = ("spec", "cniVersion")
    if not version or not re.fullmatch(CNI_VERSION, version):
        return  # what is wrong with its form is said already
    if not known.network(cni):
        expected = f"no version: the variant {cni} consists of settings of the nodes and has no images"
    elif spec.get("provider") == "existing":
        expected = "no version: the cluster already has a network"
    else:
        return
    yield Problem(locate(path), dotted_path(path), f"is {seen(version)}", expected)


def usual_family(document: Mapping[str, Any], known: Known) -> IpFamily:
    """The IP families of a spec that does not say any: the variant's usual ones, unless something speaks against both.

    Args:
        document: As data; what is wrong with it is said elsewhere.
        known: What there is.
    """
    spec = document.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    cni, provider = spec.get("cni", _CNI), spec.get("provider", "namespaces")
    if known.usual is None or not isinstance(provider, str) or cni not in known.variants:
        return "ipv4"
    usual = known.usual(cni, provider)
    if usual == "dual" and (against := _against_ipv6(spec, known)):
        if known.note is not None:
            known.note(f"the cluster has IPv4 alone: {against}")
        return "ipv4"
    return usual


def _against_ipv6(spec: Mapping[str, Any], known: Known) -> str:
    """Why a cluster that could have IPv6 has none; empty where nothing speaks against it."""
    if spec.get("nodeAddresses") and not spec.get("secondAddresses"):
        return "nodeAddresses has no IPv6 addresses"
    if (room := _left(spec, known)) and room[1] < MIN_IPV6_MTU:
        mtu, left = room
        return f"an underlay.mtu of {mtu} leaves {left} bytes for pods, and IPv6 needs {MIN_IPV6_MTU}"
    if spec.get("kernel", "host") != "host":
        arguments = spec.get("kernelArguments")
        off = isinstance(arguments, list) and NO_IPV6 in arguments
        return f"kernelArguments has {NO_IPV6}" if off else ""
    return known.machine() if known.machine is not None else ""


def wanted(ip_family: IpFamily) -> frozenset[Family]:
    """The families that `spec.ipFamily` asks for."""
    return frozenset(FAMILIES if ip_family == "dual" else (ip_family,))


def _families(spec: Mapping[str, Any], locate: Locate, known: Known) -> Iterator[Problem]:
    """A network that has no IPv6 gives none to pods, and a provider that has none gives none to nodes."""
    cni, provider = spec.get("cni", _CNI), spec.get("provider", "namespaces")
    asked: IpFamily | None = next((one for one in get_args(IpFamily) if one == spec.get("ipFamily", _FAMILY)), None)
    if asked is None:
        return
    path: Path_ = ("spec", "ipFamily")
    for what, name, ask in (("variant", cni, known.families), ("provider", provider, known.provided)):
        if ask is None or not isinstance(name, str) or (what == "variant" and name not in known.variants):
            continue
        able = set(ask(name))
        if lacking := sorted(wanted(asked) - able):
            yet = " yet" if what == "provider" else ""
            titles = " and no ".join(TITLE[one] for one in lacking)
            expected = f"{' or '.join(sorted(able))}: the {what} {name} has no {titles}{yet}"
            yield Problem(locate(path), dotted_path(path), f"is {seen(asked)}", expected)


def _room(spec: Mapping[str, Any], locate: Locate, known: Known) -> Iterator[Problem]:
    """A link that carries less than IPv6's least packet has no IPv6 at all; what a tunnel takes counts."""
    room = _left(spec, known) if spec.get("ipFamily") in ("ipv6", "dual") else None
    if room is None or not MIN_IPV6_MTU <= room[0] <= MAX_MTU:
        return  # said already
    mtu, left = room
    if left < MIN_IPV6_MTU:
        path: Path_ = ("spec", "underlay", "mtu")
        cni, taken = spec.get("cni", _CNI), mtu - left
        what = f"is {mtu}, of which {cni} takes {taken}: {mtu} - {taken} = {left} bytes for pods"
        expected = f"{MIN_IPV6_MTU + taken} or more: IPv6 needs links of {MIN_IPV6_MTU} bytes"
        yield Problem(locate(path), dotted_path(path), what, expected)


def _left(spec: Mapping[str, Any], known: Known) -> tuple[int, int] | None:
    """The underlay's MTU, and how large an IPv6 packet of a pod may be; None where that cannot be said."""
    section, version = spec.get("underlay"), spec.get("cniVersion", "")
    mtu = section.get("mtu", _MTU) if isinstance(section, dict) else _MTU
    cni = spec.get("cni", _CNI)
    if known.pod_mtu is None or cni not in known.variants:
        return None
    if not isinstance(version, str) or not re.fullmatch(CNI_VERSION, version) or not isinstance(mtu, int):
        return None
    return mtu, known.pod_mtu(cni, version, mtu)
