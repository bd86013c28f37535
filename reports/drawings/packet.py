"""A packet as a strip of headers, with the three lengths that people mix up."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.model import Decoded, Segment
from reports.svg import drawing, line, rect, text

WIDTH: Final = 1120
HEIGHT: Final = 46
TOP: Final = 44
LEAST: Final = 66
"""Least width of a header, so that its name fits."""


def packet(decoded: Decoded) -> Markup:
    """Draw a decoded packet.

    Args:
        decoded: From `panels.decode`.
    """
    top = TOP if decoded.overhead else 2
    widths = _widths(decoded.segments)
    edges = [0.0]
    for width in widths:
        edges.append(edges[-1] + width)
    shapes: list[Markup] = []
    for segment, x, width in zip(decoded.segments, edges, widths, strict=False):
        title = f"{segment.name}, {segment.bytes} bytes"
        shapes += [
            rect(x + 1, top, width - 2, HEIGHT, f"segment {segment.layer}", r=5, title=title),
            text(x + width / 2, top + 20, segment.name, "strong", anchor="middle", width=width - 4, size=11),
            text(x + width / 2, top + 36, str(segment.bytes), "mono muted", anchor="middle"),
        ]
    shapes += _brackets(decoded, edges, top)
    sizes = ", ".join(f"{segment.name} {segment.bytes}" for segment in decoded.segments)
    return drawing(WIDTH, top + HEIGHT + 36, f"Headers with their bytes: {sizes}", "packet", *shapes)


def _widths(segments: tuple[Segment, ...]) -> list[float]:
    """In proportion to the bytes, but never too narrow for a name."""
    total = sum(segment.bytes for segment in segments) or 1
    wanted = [max(LEAST, WIDTH * min(segment.bytes, 60) / total) for segment in segments]
    scale = WIDTH / sum(wanted)
    return [width * scale for width in wanted]


def _brackets(decoded: Decoded, edges: list[float], top: int) -> list[Markup]:
    layers = [segment.layer for segment in decoded.segments]
    shapes: list[Markup] = []
    if "tunnel" in layers:
        first, last = layers.index("tunnel"), len(layers) - 1 - layers[::-1].index("tunnel")
        inner = layers.index("inner")
        shapes += _bracket(
            edges[first], edges[last + 1], top - 8, -1, f"the tunnel adds {decoded.overhead} bytes", "accent"
        )
        shapes += _bracket(edges[inner], edges[-1], top - 8, -1, f"what the pod sent: {decoded.inner_length} bytes", "")
        label = f"the underlay MTU must allow an IP packet of {decoded.outer_length} bytes"
        shapes += _bracket(edges[first], edges[-1], top + HEIGHT + 8, 1, label, "")
    else:
        start = 1 if decoded.segments and decoded.segments[0].name == "Ethernet" else 0
        label = f"the IP packet: {decoded.outer_length} bytes, which the MTU must allow"
        shapes += _bracket(edges[start], edges[-1], top + HEIGHT + 8, 1, label, "")
    return shapes


def _bracket(x1: float, x2: float, y: float, side: int, words: str, extra: str) -> list[Markup]:
    """A bracket above (-1) or below (1) the strip."""
    tip = y + side * 6
    return [
        line(x1 + 2, y, x1 + 2, tip, f"bracket {extra}"),
        line(x2 - 2, y, x2 - 2, tip, f"bracket {extra}"),
        line(x1 + 2, tip, x2 - 2, tip, f"bracket {extra}"),
        text((x1 + x2) / 2, tip + (16 if side > 0 else -7), words, f"small {extra}", anchor="middle"),
    ]
