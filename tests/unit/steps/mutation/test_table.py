"""The mutation table: from records to cells, its score, what is new, and the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.faults.model import Also, Fault
from harness.model.mutation import Cell, Column, MutationTable
from harness.model.records import Census, FaultRun, Red
from harness.model.run import Pin, RunInfo
from harness.steps.mutation.page import page, summary
from harness.steps.mutation.table import bad, changes, column, joined, newest, score, unkilled, updated

CROSS, ONE_WAY, LOSS, UNIQUE = "model.pod-pod.cross-node", "model.one-way", "model.loss", "model.pod-ip.unique"
NETNS = "model.netns.private"
"""A check that no fault kills: it has an inverted probe."""

DAY, NEXT = "2026-11-29T10:00:00.000000Z", "2026-11-30T10:00:00.000000Z"


def fault(number: int, kills: tuple[str, ...], **facts: Any) -> Fault:
    name = f"F0{number}"
    return Fault(id=name, name=f"fault-{number}", title=f"Fault {number}", kills=kills, inject=(), **facts)


CATALOGUE = (
    fault(1, (CROSS,), also=(Also(checks=(ONE_WAY,), because="no packet arrives"),)),
    fault(2, (LOSS,)),
    fault(3, (UNIQUE,), spares=(CROSS,)),
    fault(4, (CROSS,)),
    fault(5, (LOSS,)),
    fault(6, (LOSS,)),
    fault(7, (LOSS,)),
)
BY_ID = {one.id: one for one in CATALOGUE}
ORDER = [one.id for one in CATALOGUE]

CENSUS = Census(
    checks=(CROSS, ONE_WAY, LOSS, UNIQUE, NETNS), unsteady=("dns.tcp",), recorded=("dns.latency",),
    gates={"multi": True, "node": True},
)  # fmt: skip
INFO = RunInfo(
    id="1-flannel", lab="flannel", started=DAY, variant="flannel", provider="namespaces", kubernetes="1.37", nodes=2,
    version="1.0", host={"kernel": "6.18.1"}, pins=(Pin(name="flanneld", version="v0.28.0", source="module"),),
)  # fmt: skip


def red(check: str, *legs: str) -> Red:
    return Red(check=check, reason="timeout", statement=f"{check} said so", legs=legs)


def run(number: int, outcome: str, *failed: Red, **facts: Any) -> FaultRun:
    base = {"fault": f"F0{number}", "title": "x", "inject": "x", "outcome": outcome, "reds": failed, "seconds": 30.0}
    return FaultRun.model_validate({**base, "began": DAY, "judged": 5, **facts})


RUNS = (
    run(1, "imprecise", red(CROSS, "a>c/tcp"), red(ONE_WAY, "a>c/udp")),
    run(2, "survived", unjudged=(UNIQUE,)),
    run(3, "killed", red(UNIQUE, "a"), red(CROSS, "a>c/tcp")),
    run(4, "equivalent", detail="declared for this network: it never did"),
    run(5, "not-applicable", detail="not so here: the cluster has three nodes or more"),
    run(6, "error", detail="did not pass after the fault was repaired: model.loss: 3 of 200 lost\nmore"),
)


@pytest.fixture
def flannel() -> Column:
    return column(INFO, CENSUS, RUNS, BY_ID)


def cell(flannel: Column, number: int) -> Cell:
    return next(one for one in flannel.cells if one.fault == f"F0{number}")


def test_records_are_weighed_by_the_catalogue_as_it_is_now(flannel: Column) -> None:
    assert [one.outcome for one in flannel.cells] == [
        "killed", "survived", "imprecise", "equivalent", "not-applicable", "error",
    ]  # fmt: skip
    assert (cell(flannel, 1).killed_by, cell(flannel, 1).beside) == ((CROSS,), (ONE_WAY,))
    assert cell(flannel, 2).survived == (LOSS,)
    assert cell(flannel, 3).imprecise == (CROSS,)
    assert cell(flannel, 6).reason == "did not pass after the fault was repaired: model.loss: 3 of 200 lost"
    assert [cell(flannel, number).reason for number in (1, 2, 3)] == ["", "", ""]


def test_a_fault_that_was_run_again_counts_once_and_one_that_is_retired_not_at_all() -> None:
    again = column(
        INFO, CENSUS, [RUNS[1], run(2, "killed", red(LOSS, "a>c"), began=NEXT), RUNS[0]], {"F02": BY_ID["F02"]}
    )
    assert [(one.fault, one.outcome, one.at) for one in again.cells] == [("F02", "killed", NEXT)]


def test_what_a_column_comes_to(flannel: Column) -> None:
    found = score(flannel, ORDER)
    assert (found.noticed, found.injected, found.precise, found.missing) == (2, 3, 1, 1)


@pytest.mark.parametrize(
    ("outcome", "reason", "wrong"),
    [
        ("killed", "", False),
        ("survived", "", True),
        ("imprecise", "", True),
        ("error", "no answer", True),
        ("equivalent", "it never did", False),
        ("equivalent", "", True),
        ("not-applicable", "one node", False),
        ("not-applicable", "", True),
    ],
)
def test_what_makes_the_exit_code_1(outcome: Any, reason: str, wrong: bool) -> None:
    assert bad(Cell(fault="F01", outcome=outcome, reason=reason)) is wrong


def test_checks_that_no_fault_killed(flannel: Column) -> None:
    assert unkilled(flannel) == [ONE_WAY, LOSS, NETNS]


def test_of_a_run_that_was_continued_each_fault_counts_once(flannel: Column) -> None:
    later = flannel.model_copy(update={"cells": (Cell(fault="F02", outcome="killed", killed_by=(LOSS,), at=NEXT),)})
    both = joined([flannel, later])
    assert len(both.cells) == len(flannel.cells)
    assert cell(both, 2).outcome == "killed"


def test_cells_that_were_not_run_again_stay_and_the_catalogue_orders_all(flannel: Column) -> None:
    old = MutationTable(columns=(flannel,))
    part = flannel.model_copy(update={"cells": (Cell(fault="F07", outcome="killed", killed_by=(LOSS,), at=NEXT),)})
    other = flannel.model_copy(update={"variant": "bridge", "cells": ()})
    new = updated(old, [part, other], ["F07", "F01", "F03"])
    assert [one.variant for one in new.columns] == ["flannel", "bridge"]
    assert [one.fault for one in new.columns[0].cells] == ["F07", "F01", "F03"]
    assert new.before == newest(old) == DAY


def other(flannel: Column, **cells: Cell) -> MutationTable:
    kept = tuple(cells.get(one.fault, one) for one in flannel.cells)
    return MutationTable(columns=(flannel.model_copy(update={"cells": kept}),))


def test_nothing_is_new_in_the_same_table(flannel: Column) -> None:
    table = MutationTable(columns=(flannel,))
    assert list(changes(table, table)) == []
    assert list(changes(MutationTable(), table)) == []


def test_what_became_worse_is_told_first(flannel: Column) -> None:
    old = MutationTable(columns=(flannel,))
    new = other(
        flannel,
        F01=Cell(fault="F01", outcome="survived", survived=(CROSS,), at=NEXT),
        F02=Cell(fault="F02", outcome="killed", killed_by=(LOSS,), at=NEXT),
        F03=Cell(fault="F03", outcome="imprecise", killed_by=(), imprecise=(CROSS, LOSS), at=NEXT),
    )
    assert list(changes(old, new)) == [
        "flannel, F01: killed before, survived now",
        f"flannel, F01: new survived: {CROSS}",
        f"flannel, F03: new imprecise: {LOSS}",
        f"flannel, F03: no longer killed by {UNIQUE}",
        f"flannel: no fault kills {CROSS} any more",
        f"flannel: no fault kills {UNIQUE} any more",
        "flannel, F02: survived before, killed now",
        f"flannel, F02: now killed by {LOSS}, too",
    ]


def test_the_page(flannel: Column, golden: Callable[[str, str], None]) -> None:
    bridge = Column(
        variant="bridge", nodes=2, kubernetes="1.37", kernel="6.18.1", checks=(LOSS,),
        cells=(Cell(fault="F02", outcome="killed", killed_by=(LOSS,), judged=1, at=NEXT, seconds=61),),
    )  # fmt: skip
    table = MutationTable(columns=(flannel, bridge), changes=("flannel, F02: killed before, survived now",), before=DAY)
    golden("mutation/page.md", page(table, CATALOGUE))
    golden("mutation/summary.txt", summary(table, CATALOGUE) + "\n")


def test_a_first_table_is_compared_with_none(flannel: Column) -> None:
    text = page(MutationTable(columns=(flannel,)), CATALOGUE)
    assert "Changes since" not in text
    assert "| flannel | 2 of 3 (66.7 %) | 1 of 2 (50.0 %) | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 5 |" in text
