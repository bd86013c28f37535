"""The API server as pods find it: its Service leads to it, and to nobody else, as its certificate shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from conformance.context import Context
from conformance.destinations import Translation, translations
from conformance.dumps import rows
from conformance.flows import rules
from conformance.inventory import ApiServer, Site
from conformance.legs import (
    broken,
    control,
    evidence_of,
    failed,
    names,
    outcome_sentence,
    passed,
    source_of,
    undialled,
    where,
)
from conformance.model import Check, Verdict
from conformance.plan import API
from harness.model.records import Exchange, Leg

VIP = 'Kubernetes documentation, "Virtual IPs and Service Proxies"'

Sent = Mapping[str, list[Translation]]
"""By node: rules that send the Service somewhere else than to an API server."""


def api_server(context: Context) -> Verdict:
    """All pods and nodes get this cluster's certificate at the API server's ClusterIP."""
    api = context.inventory.api
    if api is None:
        return Verdict(())
    direct = [one for one in context.exchanges.get("api-endpoint", ()) if one.outcome == "ok" and one.certificate]
    known = {one.certificate for one in direct if one.trusted is not False}
    sites = (*context.inventory.pods, *context.inventory.hosts)
    seen = [context.exchange("api", site.name, API, "tcp") for site in sites]
    sent = {node.name: _elsewhere(context, node.name, api) for node in context.inventory.nodes}
    legs = [_leg(context, api, site, one, known, sent) for site, one in zip(sites, seen, strict=True)]
    words = "signed by the authority that pods trust" if api.ca else "the same as at its own address"
    return Verdict(
        tuple(legs),
        (control("P1", known, f"the API server at {names(api.endpoints)} shows its certificate, {words}"),),
        evidence_of(seen, legs),
        summary=f"{len(legs)} pods and nodes get the API server's own certificate at {api.dial}",
    )


def _elsewhere(context: Context, node: str, api: ApiServer) -> list[Translation]:
    text, nft = rules(context, node)
    found = translations(text if isinstance(text, str) else None, rows(nft), api.cluster_ip, api.port)
    return [one for one in found if one.to not in api.endpoints]


def _leg(context: Context, api: ApiServer, site: Site, one: Exchange | None, known: Collection[str], sent: Sent) -> Leg:
    leg = f"{site.name}>{API}/tcp"
    if one is None:
        return undialled(context, leg)
    if one.outcome == "error":
        return broken(leg, f"the probe itself failed on {leg} (errno {one.errno}): {one.detail}")
    if one.outcome == "ok" and one.certificate and (one.certificate in known or one.trusted):
        return passed(leg, "certificate of the API server", one.subject)
    way = _way(context, api, site, sent)
    if one.outcome != "ok":
        text = f"{outcome_sentence(context, one)}, the Service of the API server{way}"
        return failed(leg, one.outcome, text, "certificate of the API server", one.outcome)
    who = f"showed the certificate of {one.subject or 'nobody'}, issued by {one.issuer or 'nobody'}"
    what = f"a server that {who}" if one.certificate else "something that does not speak TLS"
    text = f"{source_of(context, one)} dialled {one.dial}, the Service of the API server, and {what} answered{way}"
    return failed(leg, "wrong-peer", text, "certificate of the API server", one.subject or one.detail)


def _way(context: Context, api: ApiServer, site: Site, sent: Sent) -> str:
    """Where a rule of the node sends it; else whether the node finds the API server without the Service."""
    local = site.kind == "hostnet"
    rule = next((one for one in sent.get(site.node, ()) if one.meets(local=local)), None)
    if rule is not None:
        who = "programs" if local else "pods"
        return f": {who} of {site.node} that dial it are sent to {rule.to}, which is no API server ({rule.rule})"
    for one in context.exchanges.get("api-endpoint", ()):
        if one.src_node == site.node and one.outcome == "ok":
            there = where(context.inventory.by_name.get(one.src), one.src)
            return f"; {one.dial}, the API server's own address, answers {there}"
    return f"; {names(api.endpoints)}, the API server's own address, does not answer {site.node} either"


_CAUSES: Final = (
    "the Service leads to the address of another NIC",
    "a rule that matches too much",
    "proxy out of date",
)

CHECKS: tuple[Check, ...] = (
    Check(
        "svc.api-server", "the API server's ClusterIP leads to this cluster's API server", "M", "B3", api_server,
        source=f"{VIP}; KEP-1205", gates=("svc", "api"), after=("node.underlay",), needs=("B0",), once=True,
        causes=_CAUSES,
        next=("kubectl get endpointslice -n default kubernetes", "iptables-save -t nat | grep {destination}",
              "openssl s_client -connect {api} </dev/null | openssl x509 -noout -subject -issuer"),
    ),
)  # fmt: skip
