from __future__ import annotations

from conformance.checks.nat import forgive_clash
from conformance.legs import failed, passed
from harness.model.records import Exchange, Leg


def mesh(*changed: int, legs: int = 8, address: str = "10.244.0.2") -> tuple[list[Leg], list[Exchange]]:
    """Exchanges of a mesh, some of which the receiver saw from port 9 of an address."""
    exchanges = [
        Exchange(
            batch="B1",
            purpose="mesh",
            src="a",
            src_node="n1",
            src_ip="10.244.0.2",
            dst="c",
            dst_node="n2",
            proto="tcp",
            dial="10.244.1.2:8080",
            source=f"10.244.0.2:{4000 + index}",
            outcome="ok",
            peer=f"{address}:9" if index in changed else f"10.244.0.2:{4000 + index}",
        )
        for index in range(legs)
    ]
    return [
        failed(str(i), "wrong-source", "c saw port 9") if i in changed else passed(str(i)) for i in range(legs)
    ], exchanges


def statuses(legs: list[Leg]) -> list[str]:
    return [leg.status for leg in legs]


def test_one_flow_with_another_port_is_written_down() -> None:
    legs = forgive_clash(*mesh(3))
    assert statuses(legs).count("record") == 1
    assert legs[3].statement == "c saw port 9: its own port was tracked for another flow"


def test_two_flows_with_other_ports_are_a_failure() -> None:
    assert statuses(forgive_clash(*mesh(3, 5))).count("fail") == 2


def test_another_address_is_always_a_failure() -> None:
    assert statuses(forgive_clash(*mesh(3, address="10.244.0.1"))).count("fail") == 1


def test_a_small_mesh_proves_no_coincidence() -> None:
    assert statuses(forgive_clash(*mesh(3, legs=7))).count("fail") == 1
