"""A small judge of HTML: what a browser would forgive, a report must not need to be forgiven."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "input", "br", "hr", "img", "link"}
FORBIDDEN = {"iframe", "object", "embed", "base", "form"}
URLS = ("href", "src", "xlink:href", "action", "srcset", "data", "poster")


@dataclass
class Page(HTMLParser):
    """Everything wrong with a page, and what the tests ask about."""

    problems: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def __hash__(self) -> int:
        return id(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.problems.append(f"<{tag}> names an attribute twice: {names}")
        if tag in FORBIDDEN:
            self.problems.append(f"<{tag}> has no place in a report")
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.problems.append(f"<{tag} {name}> is refused by the content security policy")
            if name == "id":
                self.ids.append(value or "")
            if name == "for":
                self.labels.append(value or "")
            if name in URLS:
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            self.problems.append(f"</{tag}> closes what is never open")
        elif not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> at line {self.getpos()[0]} closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a person reads."""
        return " ".join(" ".join(self.words).split())


def read(html: str) -> Page:
    """Read a page; its `problems` are empty when it is sound."""
    page = Page()
    page.feed(html)
    page.close()
    known = set(page.ids)
    page.problems += [f"<{tag}> is never closed" for tag in page.open]
    page.problems += [f"id {one!r} twice" for one, times in Counter(page.ids).items() if times > 1]
    page.problems += [f"id {one!r} has a space" for one in page.ids if not one or " " in one]
    page.problems += [
        f"link to {link!r} leads nowhere" for link in page.links if link.startswith("#") and link[1:] not in known
    ]
    page.problems += [
        f"{link!r} leaves the run directory" for link in page.links if ":" in link or link.startswith("/")
    ]
    page.problems += [f"label for {one!r} has no input" for one in page.labels if one not in known]
    return page
