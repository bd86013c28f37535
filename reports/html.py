"""The report as one HTML file that needs nothing else: no network, no fonts, no script to be readable."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.model.family import TITLE
from reports import text
from reports.drawings.ladder import ladder
from reports.drawings.mutations import mutation_matrix
from reports.drawings.packet import packet
from reports.drawings.plot import plot
from reports.drawings.timeline import timeline
from reports.drawings.topology import topology
from reports.model import Report

_HERE = Path(__file__).resolve().parent


def render(report: Report) -> str:
    """The whole page.

    Args:
        report: From `reports.build.build`.

    Returns:
        HTML. Equal reports give equal text, to the byte.
    """
    return environment().get_template("report.html.j2").render(report=report)


@cache
def environment(folder: Path | None = None) -> Environment:
    """Templates with everything that a page of ours is made of.

    Args:
        folder: Further templates, and a `style.css` that follows the usual one.
    """
    css, js = _asset("style.css"), _asset("script.js")
    if folder is not None:
        css += (folder / "style.css").read_text(encoding="utf-8")
    made = Environment(
        loader=FileSystemLoader([*([folder] if folder else []), _HERE / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        css=Markup(css),  # noqa: S704 - our own file
        js=Markup(js),  # noqa: S704 - our own file
        policy=_policy(css, js),
        draw_topology=topology,
        draw_packet=packet,
        draw_ladder=ladder,
        draw_plot=plot,
        draw_timeline=timeline,
        draw_mutations=mutation_matrix,
        duration=text.duration,
        clock=text.clock,
        plural=text.plural,
        listing=text.listing,
        TITLE=TITLE,
    )
    return made


@cache
def _asset(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8")


def _policy(css: str, js: str) -> str:
    """A content security policy that allows exactly our style sheet and our script, and no request at all."""
    return (
        f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(js)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
