"""Verdicts, lab steps and faults of the made-up run."""

from __future__ import annotations

from harness.model.cause import Cause
from harness.model.records import (
    Control,
    Evidence,
    FaultRun,
    LabStep,
    Leg,
    Result,
)
from tests.unit.reports.sample.base import Sample


def results(sample: Sample) -> list[Result]:
    """results.jsonl: passes, one failure, one skip, one not applicable, one flaky, one record."""
    good = [
        ("model.pod-ip.unique", "Every pod address is unique in the cluster"),
        ("model.pod-pod.same-node", "All pods of one node reach each other"),
        ("model.pod-pod.cross-node", "All pods on all nodes reach each other"),
        ("model.no-nat.same-node", "No address is translated between pods of one node"),
        ("model.identity", "Traffic reaches the pod it was sent to"),
        ("ipam.cidr.disjoint", "Pod ranges of nodes do not overlap"),
        ("ipam.lease.match", "Leases are those of running pods"),
        ("svc.clusterip.reach", "Every pod reaches every Service"),
        ("dns.service", "Every Service has its address record"),
        ("dns.search", "Short names resolve by the search path"),
        ("mtu.exact", "A packet of exactly the pod MTU passes unfragmented"),
        ("mtu.plus-one", "One byte more is refused with the right error"),
        ("egress.source", "The outside sees the address of the pod's own node"),
        ("node.routes", "Each node has exactly the routes of the variant"),
    ]
    good += [(f"node.extra-{number}", f"Extra {number}") for number in range(sample.requirements)]
    reached = Leg(leg="a>c/tcp/v4/8080", status="pass", statement="10.244.0.2 (a, n1) reached 10.244.1.2 (c, n2)")
    made = [
        Result(
            id=name, title=title, level="M", source="The Kubernetes network model", status="pass",
            statement=f"{title}: all {6 + number} legs are as expected", tested=6 + number, total=6 + number,
            legs=(reached,),
            controls=(Control(kind="P1", ok=True, detail="the same probe between pods of one node works"),),
            wall_ms=12.5 + number,
        )
        for number, (name, title) in enumerate(good)
    ]  # fmt: skip
    made[2] = made[2].model_copy(update={"flaky": True})
    made.insert(4, _failure(sample))
    made += [
        Result(
            id="mtu.mss", title="TCP announces a segment size that fits", level="S", status="fail",
            statement="The SYN from a to c announces 1460 where 1410 fits", tested=2, total=2, wall_ms=3.0,
            legs=(Leg(leg="a>c", status="fail", expected=1410, observed=1460, unit="B", statement="MSS 1460 > 1410"),),
        ),
        Result(
            id="conn.idle", title="An idle connection survives", level="S", status="skip", reason="disruptive-off",
            statement="not run: disruptive checks are off",
        ),
        Result(
            id="np.default", title="Without a policy everything is allowed", level="M", status="not-applicable",
            statement="flannel does not enforce NetworkPolicy", gates={"np": False},
        ),
        Result(
            id="model.pod-node.source", title="Which source a remote node sees", level="R", status="pass",
            statement="pods are seen by remote nodes under their own node's address", tested=4, total=4,
        ),
    ]  # fmt: skip
    return [one.model_copy(update={"area": _area(one.id)}) for one in made]


def _area(name: str) -> str:
    first, _, rest = name.partition(".")
    if first == "model":
        return {"no-nat": "nat", "pod-ip": "identity", "identity": "identity"}.get(rest.partition(".")[0], "reach")
    return {"svc": "services", "node": "nodes", "conn": "nodes", "np": "policy"}.get(first, first)


def _failure(sample: Sample) -> Result:
    b, last = sample.pods[1], sample.pods[-1]
    statement = f"{b.ip} ({b.name}, n1) reached {last.ip} ({last.name}, n{last.node}) as 10.244.0.0, flannel.1 of n1"
    return Result(
        id="model.no-nat.cross-node",
        title="No address is translated between nodes",
        level="M",
        source="The Kubernetes network model",
        gates={"multi": True},
        status="fail",
        reason="wrong-source",
        statement=statement,
        tested=8,
        total=8,
        wall_ms=0.4,
        legs=(
            Leg(
                leg=f"{b.name}>{last.name}/tcp/v4/8080", status="fail", reason="wrong-source", expected=b.ip,
                observed="10.244.0.0", unit="ip", statement=statement,
            ),
            Leg(leg="a>c/tcp/v4/8080", status="pass", expected="10.244.0.2", observed="10.244.0.2", unit="ip"),
        ),
        controls=(Control(kind="P7", ok=True, detail="the API names the same addresses"),),
        evidence=(
            Evidence(kind="socket", detail={"client": f"{b.ip}:51348", "server_saw": "10.244.0.0:51348"}),
            Evidence(
                kind="kernel",
                detail={
                    "command": "iptables -t nat -S FLANNEL-POSTRTG",
                    "excerpt": "-A FLANNEL-POSTRTG -s 10.244.0.0/16 -j MASQUERADE --random-fully",
                },
            ),
        ),
        next=("cnilab exec n1 -- iptables -t nat -S FLANNEL-POSTRTG",),
    )  # fmt: skip


def causes() -> list[Cause]:
    """causes.jsonl: one that is certain, one that is possible, and something that nothing explains."""
    return [
        Cause(
            key="n1/iptables/nat/FLANNEL-POSTRTG/4", kind="rule.masquerades", place="n1",
            sentence="n1 gives 10.244.0.3 > 10.244.1.3:8080/tcp another sender: table nat, chain FLANNEL-POSTRTG, "
            "rule 4",
            confidence="certain", look="iptables -t nat -nvL FLANNEL-POSTRTG --line-numbers",
            mend="iptables -t nat -D FLANNEL-POSTRTG 4",
            source="Kubernetes network model: pods reach each other without NAT",
            follows=("model.no-nat.cross-node",), legs=1, flow="b to d: 10.244.0.3 > 10.244.1.3:8080/tcp",
            path=(
                "b eth0: leaves by default via 10.244.0.1 dev eth0",
                "n1 veth11ab: comes from b, into cni0",
                "n1 flannel.1: 10.244.1.0/24 via 10.244.1.0 dev flannel.1",
            ),
        ),
        Cause(
            key="n2/link/cni0", kind="link.missing", place="n2", sentence="n2 has no cni0, if its conditions hold",
            confidence="possible", look="ip -br link",
            mend="restart the agent of the network on n2, which makes it", follows=("model.no-nat.cross-node",), legs=1,
        ),
        Cause(
            key="mtu.mss[a>c]", kind="symptom", place="a", sentence="MSS 1460 > 1410", confidence="unexplained",
            follows=("mtu.mss",), legs=1,
        ),
    ]  # fmt: skip


def lab_steps() -> list[LabStep]:
    """labs.jsonl: one record per expectation, the command and the evidence with the first of a step."""
    leases = {"table": "Routes", "columns": ["to", "via"], "rows": [["10.244.1.0/24", "10.244.1.0"]]}
    return [
        LabStep(
            lab="flannel-routes", step="routes", title="Routes of a node", place="node n1",
            command="ip -j route show dev flannel.1", exit_status=0,
            output="# node n1\n$ ip -j route\n10.244.1.0/24 via 10.244.1.0 onlink\n[exit 0]\n", status="pass",
            expectation="There is one route per other node.", observed="1 == 1", seconds=0.02,
            evidence=(
                Evidence(kind="log", detail={"transcript": "labs/flannel-routes/01-routes.txt", "runs": 1}),
                Evidence(kind="kernel", detail=leases),
            ),
        ),
        LabStep(
            lab="flannel-routes", step="routes", title="Routes of a node", place="node n1", status="record",
            expectation="Its gateway.", observed="10.244.1.0",
        ),
        LabStep(
            lab="flannel-routes", step="port", title="The port of the tunnel", place="node n1",
            command="ip -d link show flannel.1", exit_status=0, output="vxlan id 1 dstport 8472 nolearning\n",
            status="pass", expectation="UDP port 8472", observed="8472 == 8472",
            claim="VXLAN is UDP 4789. (That is IANA's number; flannel uses 8472.)", seconds=0.01,
        ),
        LabStep(
            lab="pod-pause", step="kill", title="Kill the application", place="pod labs/two",
            command="kill -9 42", exit_status=1, output="no such process\n", status="fail",
            expectation="restarts go up by one, the address stays", observed="restarts stayed at 0", seconds=1.4,
        ),
        LabStep(
            lab="docker-networks", step="needs", title="Default, custom, host", place="operator", status="skip",
            reason="needs a Docker engine",
        ),
    ]  # fmt: skip


def faults() -> list[FaultRun]:
    """faults.jsonl."""
    return [
        FaultRun(
            fault="F01", title="A route to a remote pod range is gone", inject="ip route del 10.244.1.0/24",
            outcome="killed", killed_by=("model.pod-pod.cross-node", "node.routes"), seconds=0.9,
        ),
        FaultRun(
            fault="F12", title="One direction of UDP is dropped", inject="nft add rule ...", outcome="survived",
            survived=("model.one-way",), seconds=0.8,
        ),
    ]  # fmt: skip
