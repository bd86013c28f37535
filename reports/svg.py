"""The few shapes that the drawings are made of. Every value is escaped; numbers are written the same way every time."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

Number = int | float

MONO_WIDTH = 0.602
"""Width of a character of the usual monospaced fonts, in ems."""

TEXT_WIDTH = 0.54
"""Average width of a character of the usual sans-serif fonts, in ems."""

BOLD_WIDTH = 0.66
"""The same of the bold ones, which the page sets a little larger."""


def number(value: Number) -> str:
    """`12`, `12.5`: at most one decimal, so that output does not depend on rounding noise."""
    text = f"{value:.1f}"
    return text.removesuffix(".0").replace("-0", "0") if text in ("-0.0", "-0") else text.removesuffix(".0")


def element(tag: str, *children: str | Markup, **attributes: str | Number | None) -> Markup:
    """An element; `class_` becomes `class`, underscores become hyphens, None leaves an attribute out."""
    parts: list[str | Markup] = []
    for key, raw in attributes.items():
        if raw is None or raw == "":
            continue
        name = key.rstrip("_").replace("_", "-")
        text = raw if isinstance(raw, str) else number(raw)
        parts.append(Markup(' {}="{}"').format(name, text))
    inner = Markup().join(escape(child) for child in children)
    head = Markup().join(parts)
    return Markup("<{0}{1}>{2}</{0}>").format(tag, head, inner)


def rect(x: Number, y: Number, width: Number, height: Number, class_: str, *, r: Number = 0, title: str = "") -> Markup:
    """A box, with a tooltip if there is a title."""
    inside = [element("title", title)] if title else []
    return element("rect", *inside, x=x, y=y, width=max(0, width), height=height, rx=r or None, class_=class_)


def line(x1: Number, y1: Number, x2: Number, y2: Number, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def circle(x: Number, y: Number, radius: Number, class_: str) -> Markup:
    """A dot."""
    return element("circle", cx=x, cy=y, r=radius, class_=class_)


def path(points: Iterable[tuple[Number, Number]], class_: str, *, bend: Number = 0) -> Markup:
    """A line through the points, its corners rounded by `bend`."""
    corners = list(points)
    steps = [f"M{number(corners[0][0])} {number(corners[0][1])}"]
    for before, corner, after in zip(corners, corners[1:], [*corners[2:], None], strict=False):
        if after is None or not bend:
            steps.append(f"L{number(corner[0])} {number(corner[1])}")
            continue
        start, end = _toward(corner, before, bend), _toward(corner, after, bend)
        steps.append(
            f"L{number(start[0])} {number(start[1])}"
            f"Q{number(corner[0])} {number(corner[1])} {number(end[0])} {number(end[1])}"
        )
    return element("path", d="".join(steps), class_=class_)


def _toward(corner: tuple[Number, Number], other: tuple[Number, Number], distance: Number) -> tuple[Number, Number]:
    """The point at a distance from the corner on the straight, axis-parallel way to another."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    reach = max(abs(dx), abs(dy)) or 1
    share = min(distance, reach / 2) / reach
    return corner[0] + dx * share, corner[1] + dy * share


def text(
    x: Number, y: Number, words: str, class_: str, *, anchor: str = "", width: Number = 0, size: Number = 12
) -> Markup:
    """A line of text, cut with an ellipsis when it would be wider than `width`; the whole is then its tooltip.

    Args:
        x: Left, middle or right end, as `anchor` says.
        y: Baseline.
        words: The text.
        class_: Class; one that contains `mono` is measured as monospaced, one that contains `strong` as bold.
        anchor: `middle` or `end`; default start.
        width: Space in user units; 0 is unlimited.
        size: Font size in user units, for measuring.
    """
    em = MONO_WIDTH if "mono" in class_ else BOLD_WIDTH if "strong" in class_ else TEXT_WIDTH
    room = int(width / (size * em)) if width else len(words)
    if len(words) <= max(1, room):
        return element("text", words, x=x, y=y, class_=class_, text_anchor=anchor)
    short = f"{words[: max(1, room - 1)]}…"
    return element("text", short, element("title", words), x=x, y=y, class_=class_, text_anchor=anchor)


def drawing(width: Number, height: Number, label: str, class_: str, *shapes: Markup) -> Markup:
    """An inline SVG that scales with its column and has a name for screen readers."""
    return element(
        "svg",
        Markup("\n").join(shapes),
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_label=label,
        class_=class_,
    )
