"""The page of a night: one HTML file that needs nothing else, in the style of a run's own page."""

from __future__ import annotations

from pathlib import Path

from reports.html import environment
from reports.night.model import Night
from reports.night.spark import spark

_TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(night: Night) -> str:
    """The whole page.

    Args:
        night: From `reports.night.build.build`.

    Returns:
        HTML. Equal nights give equal text, to the byte.
    """
    return environment(_TEMPLATES).get_template("night.html.j2").render(night=night, spark=spark)
