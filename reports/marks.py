"""Statuses as people see them: a tone, a glyph and a word, the same on every panel."""

from __future__ import annotations

from typing import Final

from reports.model import Mark

PASS: Final = Mark("good", "✓", "pass")
FAIL: Final = Mark("bad", "✗", "fail")
ADVICE: Final = Mark("warn", "✗", "not met")
"""A recommendation (level S) that does not hold."""
FLAKY: Final = Mark("warn", "~", "flaky")
ERROR: Final = Mark("lab", "!", "no verdict")
SKIP: Final = Mark("muted", "–", "skipped")
NOT_APPLICABLE: Final = Mark("muted", "∅", "not applicable")
RECORD: Final = Mark("note", "•", "recorded")

REACHED: Final = Mark("good", "✓", "reached, as expected")
DENIED: Final = Mark("note", "⊘", "denied, as expected")
UNEXPECTED: Final = Mark("bad", "!", "reached, but not as expected")
"""Reached though it should be denied, answered by somebody else, or seen under a translated address."""
BROKEN: Final = Mark("bad", "✗", "not reached")
UNSTEADY: Final = Mark("warn", "~", "reached only after a retry")
UNTESTED: Final = Mark("muted", "·", "not tested")

LEAK: Final = Mark("bad", "!", "reached, but a policy forbids it")
IGNORED: Final = Mark("warn", "!", "reached: the policy that forbids it is not enforced")

DEVIATION: Final = Mark("warn", "✗", "not as the API requires, but declared by the variant")

TOO_LONG: Final = Mark("note", "•", "no, as the variant declares")

POLICY_STATES: Final = (LEAK, BROKEN, IGNORED, DEVIATION, REACHED, DENIED)

MATRIX_STATES: Final = (REACHED, DENIED, UNEXPECTED, BROKEN, UNSTEADY, UNTESTED)

_STATUS: Final = {
    "pass": PASS,
    "fail": FAIL,
    "error": ERROR,
    "skip": SKIP,
    "not-applicable": NOT_APPLICABLE,
    "record": RECORD,
}


def of_status(status: str, *, level: str = "M", flaky: bool = False) -> Mark:
    """The mark of a requirement, a leg, or a lab's step.

    Args:
        status: As recorded.
        level: M, S or R; a failed recommendation is not painted like a failed requirement.
        flaky: It passed only after a retry.
    """
    if status == "fail" and level != "M":
        return ADVICE
    if status == "pass" and flaky:
        return FLAKY
    return _STATUS.get(status, ERROR)


_SEVERITY: Final = ("muted", "note", "good", "warn", "lab", "bad")


def worst(marks: list[Mark]) -> Mark:
    """The mark that a reader must see first; `UNTESTED` of nothing."""
    return max(marks, key=lambda mark: _SEVERITY.index(mark.tone), default=UNTESTED)
