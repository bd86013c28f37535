"""The job summary: what a reviewer wants to know, in Markdown, well below the limit of CI services."""

from __future__ import annotations

from reports.escape import code, fenced, fit, html, plain
from reports.model import Area, CauseCard, LabCard, Matrix, MatrixTab, Order, Report, Requirement
from reports.text import duration, plural

_MOST_MATRIX = 20
_MOST_CAUSES = 5
_MOST_FOLLOWERS = 12


def render(report: Report) -> str:
    """Verdict, causes, failures, areas, matrix, labs.

    Args:
        report: From `reports.build.build`.

    Returns:
        At most `reports.escape.LIMIT` bytes; what does not fit is left out from the end, and the text says so.
    """
    verdict = report.verdict
    parts = [
        f"## {plain(verdict.subject)}: {plain(verdict.sentence)}\n",
        *_causes(report),
        _line(
            [
                verdict.detail,
                f"Run `{code(verdict.run_id)}`" + (f", {duration(verdict.seconds)}." if verdict.seconds else "."),
            ]
        ),
    ]
    if verdict.reproduce:
        parts.append(f"```sh\n{fenced(verdict.reproduce)}\n```\n")
    if report.trouble is not None:
        trouble = report.trouble
        parts.append("### What went wrong\n")
        parts += [
            f"- **{name}** {plain(text)}\n"
            for name, text in (("Step", trouble.step), ("What", trouble.what), ("Now", trouble.next_step))
            if text
        ]
        if trouble.cause:
            parts.append(f"\n```text\n{fenced(trouble.cause)}\n```\n")
    if report.requirements is not None:
        parts += _areas(report.requirements.areas)
        parts += [_failure(item) for item in report.requirements.attention]
    if report.matrix is not None and len(report.matrix.axes) <= _MOST_MATRIX:
        parts += [_matrix(report.matrix, tab) for tab in _tabs(report.matrix)]
    parts += _labs(report.labs)
    if report.faults is not None:
        parts.append(
            f"\nThe suite detected {report.faults.killed} of {plural(report.faults.counted, 'injected fault')}.\n"
        )
    return fit(parts)


def _causes(report: Report) -> list[str]:
    """What is wrong, before anything that follows from it."""
    if report.causes is None:
        return []
    cards = report.causes.cards
    more = len(cards) - _MOST_CAUSES
    parts = [f"\n### {plain(report.causes.sentence)}\n\n", *map(_cause, cards[:_MOST_CAUSES])]
    return [*parts, f"{plural(more, 'more cause')} in the HTML report.\n\n" if more > 0 else "\n"]


def _cause(card: CauseCard) -> str:
    listed = ", ".join(f"`{code(one.id)}`" for one in card.follows[:_MOST_FOLLOWERS])
    more = f" and {len(card.follows) - _MOST_FOLLOWERS} more" if len(card.follows) > _MOST_FOLLOWERS else ""
    lines = [
        f"**{plain(card.name)}: {plain(card.sentence)}** ({card.confidence}: {plain(card.meaning)})\n",
        *(_order(name, one) for name, one in (("See it", card.look), ("Mend it", card.mend)) if one is not None),
        f"- → {plain(card.consequence)}: {listed}{more}" if card.follows else "",
        f"- {plain(card.unjudged)}" if card.unjudged else "",
    ]
    return "\n".join(filter(None, lines)) + "\n\n"


def _order(name: str, order: Order) -> str:
    text = f"`{code(order.text)}`" if order.typed else plain(order.text)
    return f"- {plain(name + order.where)}: {text}"


def _areas(areas: tuple[Area, ...]) -> list[str]:
    glyphs = ["".join(item.mark.glyph for item in area.requirements) for area in areas]
    rows = [
        f"| {plain(area.name)} | {area.held} of {area.judged} | {line} |\n"
        for area, line in zip(areas, glyphs, strict=True)
    ]
    return ["\n| Area | Hold | |\n|---|---:|---|\n", *rows, "\n"]


def _failure(item: Requirement) -> str:
    families = f"; {item.by_family}" if item.by_family else ""
    head = f"{item.mark.glyph} {item.id}: {item.title} ({item.level}, {item.mark.word}{families})"
    why = " ".join(one.told(first=number == 0) for number, one in enumerate(item.because))
    lines = [f"<details><summary>{html(head)}</summary>\n\n{plain(item.statement)}\n"]
    lines += [f"{plain(why[:1].upper() + why[1:])}.\n"] if why else []
    lines += [f"- `{code(leg.leg)}` {plain(leg.statement)}" for leg in item.legs[:10] if leg.mark.tone != "good"]
    if item.next:
        commands = "\n".join(map(fenced, item.next))
        lines.append(f"\n```sh\n{commands}\n```")
    return "\n".join([*lines, "\n</details>\n\n"])


def _tabs(matrix: Matrix) -> list[MatrixTab]:
    """The first protocol of each family."""
    first: dict[str, MatrixTab] = {}
    for tab in matrix.tabs:
        first.setdefault(tab.family, tab)
    return [tab for family, tab in first.items() if family] or [matrix.tabs[0]]


def _matrix(matrix: Matrix, tab: MatrixTab) -> str:
    """Characters in a code block: `.` as expected, the state's own glyph otherwise."""
    over = f" over {tab.family}" if tab.family else ""
    width = max(len(axis.name) for axis in matrix.axes) + 1
    head = " " * width + "".join(axis.name.rjust(width) for axis in matrix.axes)
    rows = [
        axis.name.ljust(width) + "".join((cell.text or cell.mark.glyph).rjust(width) for cell in row)
        for axis, row in zip(matrix.axes, tab.rows, strict=True)
    ]
    text = fenced("\n".join([head, *rows]))
    return f"\n**Pod to pod, {plain(tab.title)}{over}**: {plain(tab.summary)}\n\n```text\n{text}\n```\n"


def _labs(labs: tuple[LabCard, ...]) -> list[str]:
    if not labs:
        return []
    rows = [f"| {lab.mark.glyph} `{code(lab.id)}` | {plain(lab.reason or lab.summary)} |\n" for lab in labs]
    return ["\n| Lab | Steps |\n|---|---|\n", *rows]


def _line(words: list[str]) -> str:
    return " ".join(word if "`" in word else plain(word) for word in words if word) + "\n\n"
