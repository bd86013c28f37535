"""`components.lock`: what a lab is made of, as data."""

from __future__ import annotations

import platform
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from harness import __version__, resources
from harness.components.versions import accepts
from harness.errors import PreflightError, Problem, SpecError, UsageError
from harness.model.base import Data

FileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
"""A delivered program's name: no slash, so that it cannot leave its directory."""

Minor = Annotated[str, StringConstraints(pattern=r"^1\.\d{1,2}$")]
"""A minor version of Kubernetes."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""As `uname -m` says it, and as Go and release files call it."""

_LOOPBACK = re.compile(r"^http://127\.0\.0\.1:\d+/")

Architecture = Literal["amd64", "arm64"]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal digits."""


def encrypted(url: str) -> bool:
    """Whether what a URL names comes as it was sent: over TLS, or without leaving this machine."""
    return url.startswith("https://") or _LOOPBACK.match(url) is not None


def architecture() -> str:
    """This machine's architecture as Go and release files call it.

    Raises:
        PreflightError: No component of the lock exists for it.
    """
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        msg = f"no component is pinned for {machine} machines"
        raise PreflightError(msg, next_step=f"use one of: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[machine]


class System(Data):
    """Programs that a machine may already have."""

    programs: dict[FileName, str] = Field(description="Delivered name -> program on PATH; all must be there")


class Package(Data):
    """A package of the distribution that is unpacked, not installed."""

    name: str
    files: dict[FileName, str] = Field(description="Delivered name -> path in the package")


class Artefact(Data):
    """One file of a release."""

    url: str
    checksum: str = Field(description="URL of the published SHA-256: bare, or lines of sha256sum")
    digests: dict[Architecture, Digest] = Field(
        default_factory=dict, description="SHA-256 of the file, by architecture: what has none here is not downloaded"
    )
    others: dict[str, dict[Architecture, Digest]] = Field(
        default_factory=dict, description="The same for other versions, by version"
    )
    files: dict[FileName, str] = Field(description="Delivered name -> member of the archive; empty: the file itself")

    def pinned(self, version: str, default: str) -> dict[Architecture, Digest]:
        """Digests of the file by architecture.

        Args:
            version: Whose file.
            default: The version that `digests` are of.
        """
        return self.digests if version == default else self.others.get(version, {})

    @field_validator("url", "checksum")
    @classmethod
    def _encrypted(cls, value: str) -> str:
        if not encrypted(value):
            msg = "must be an https:// URL: programs and checksums must be transferred over TLS"
            raise ValueError(msg)
        return value


class Release(Data):
    """A project's own release."""

    version: str = Field(default="", description="When it differs from the component's")
    artefacts: tuple[Artefact, ...]


class Edit(Data):
    """One changed place in a pinned module's source: no fork, and nothing else of the module differs.

    For what could not run without it; a program is not edited to be quicker.
    """

    name: FileName = Field(description="A word or two for tags, pins and reports: no-modules")
    module: str = Field(description="The module's path, as go.mod requires it")
    file: str = Field(description="Of the module's, relative to its root")
    find: str = Field(description="Text that is there exactly once")
    replace: str


class Folder(Data):
    """A folder of a pinned module, delivered as one tar archive."""

    module: str = Field(description="The module's path, as go.mod requires it")
    path: str = Field(description="Of the module's, relative to its root")
    without: tuple[str, ...] = Field(default=(), description="Names directly below it that are left out")
    only: tuple[str, ...] = Field(default=(), description="Names directly below it that are all; empty: every one")


class Build(Data):
    """`go build` of a pinned module."""

    module: FileName = Field(description="Folder in components/")
    modfile: str = Field(default="go.mod", description="File there that pins the dependencies, with its .sum beside it")
    target: Literal[".", "tool"] = Field(description="The module's own package, or the tools that its go.mod names")
    files: dict[FileName, str] = Field(description="Delivered name -> name of the built program")
    version: str = Field(default="", description="When it differs from the component's")
    cgo: bool = False
    needs: tuple[str, ...] = Field(default=(), description="Tools, by their names in the lock")
    tags: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    folders: dict[FileName, Folder] = Field(default_factory=dict, description="Delivered name -> folder of a module")
    ldflags: str = "-s -w"
    upstream: str = Field(default="", description="Path of the module whose version is the component's")
    seconds: int = Field(default=10, description="Cold, on two cores")


class Component(Data):
    """A program or a set of programs with one version."""

    name: FileName = ""
    summary: str
    version: str
    kind: Literal["bin", "cni", "image"] = Field(
        description="bin: on the nodes' PATH; cni: in /opt/cni/bin; image: only inside an image"
    )
    optional: bool = Field(default=False, description="Made only when something asks for it by its name")
    probe: tuple[str, ...] = Field(default=(), description="Delivered program and arguments that print its version")
    accept: str = Field(default="", description="Accepted versions, as >=1.6,<3")
    minors: dict[Minor, str] = Field(
        default_factory=dict, description="Other minor versions of Kubernetes -> version for it; built from MINOR.mod"
    )
    accept_until: dict[Minor, str] = Field(
        default_factory=dict, description="Accepted versions up to and with this minor version of Kubernetes"
    )
    end_of_life: dict[Minor, date] = Field(
        default_factory=dict, description="Minor version -> day after which its project mends nothing in it"
    )
    links: dict[FileName, FileName] = Field(default_factory=dict, description="Other names of delivered programs")
    system: System | None = None
    package: Package | None = None
    release: Release | None = None
    build: Build | None = None
    published: dict[FileName, Folder] = Field(
        default_factory=dict,
        description="Of a network, what installs another version of it: delivered name -> folder of its module",
    )
    module: dict[FileName, Folder] = Field(
        default_factory=dict, description="The same for the version that was asked for, of which nothing is built"
    )

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if not (self.system or self.package or self.release or self.build):
            msg = "has no source: give it one of system, package, release, build"
            raise ValueError(msg)
        if self.edits and not self.only_built:
            msg = "has edits, and a source that knows nothing of them: its tag would say what is not so"
            raise ValueError(msg)
        for artefact in self.release.artefacts if self.release else ():
            if strange := sorted(set(artefact.others) - set(self.minors.values())):
                msg = f"has digests of {', '.join(strange)}, which `minors` does not name"
                raise ValueError(msg)
        versions = {source.version for source in (self.release, self.build) if source} - {""}
        if self.kind == "image" and versions - {self.version}:
            msg = "has a source of another version: the tag of its image would say what is not in it"
            raise ValueError(msg)
        accepts(self.accept, "0.0")
        return self

    @property
    def only_built(self) -> bool:
        """Nobody publishes it as a program."""
        return not (self.system or self.package or self.release)

    def of_version(self, version: str) -> Self:
        """The component with another version, whose release has other digests; of most versions none are known."""
        release = self.release
        if release and version != self.version:
            others = (
                one.model_copy(update={"digests": one.pinned(version, self.version), "others": {}})
                for one in release.artefacts
            )
            release = release.model_copy(update={"artefacts": tuple(others)})
        return self.model_copy(update={"version": version, "release": release})

    def as_published(self, version: str) -> Self:
        """A network's component at a version that is not pinned: what installs its project's own images."""
        nothing = dict.fromkeys(("system", "package", "release", "build"))
        folders = {"module": self.published, "published": {}}
        words = {"summary": f"{self.summary}; the pinned version is {self.version}"}
        return self.model_copy(update={**nothing, **folders, **words, "version": version, "probe": (), "accept": ""})

    @property
    def pinned(self) -> str:
        """The pinned version; the project's own for what is built from the checkout."""
        return __version__ if self.version == "project" else self.version

    @property
    def edits(self) -> tuple[str, ...]:
        """Names of the changes that its program has when it is built here; each once, in order."""
        return tuple(dict.fromkeys(edit.name for edit in self.build.edits)) if self.build else ()

    @property
    def tag(self) -> str:
        """The tag of its image: the version, and what is changed in it: `v1.15.19-cnilab.no-modules`."""
        return "-cnilab.".join((f"v{self.pinned}", *([".".join(self.edits)] if self.edits else [])))

    def fill(self, text: str, version: str = "", arch: str = "") -> str:
        """Replace `{version}`, `{major}`, `{minor}` and `{arch}` in a URL, a path or a flag.

        Args:
            text: With placeholders.
            version: Of the source, when it differs from the component's.
            arch: Another architecture than this machine's.
        """
        value = version or self.pinned
        major, minor, *_ = (*value.split("."), "0", "0")
        fields = {"version": value, "major": major, "minor": minor, "arch": arch or architecture()}
        for name, replacement in fields.items():
            text = text.replace("{" + name + "}", replacement)
        return text


class GoPin(Data):
    """The Go that builds use where the machine has none, or one that is too old."""

    version: str
    sums: dict[Architecture, Annotated[str, StringConstraints(pattern=r"^h1:[A-Za-z0-9+/]{43}=$")]] = Field(
        description="By architecture, as Go's database of sums has it of the module golang.org/toolchain"
    )

    @property
    def sum(self) -> str:
        """That of this machine's architecture; empty where it is not pinned for it."""
        return next((value for name, value in self.sums.items() if name == architecture()), "")


class Tool(Data):
    """An ordinary program of the machine, or a library's header."""

    name: str = ""
    package: str = Field(description="Debian packages that bring it, separated by blanks")
    file: str = Field(default="", description="Path of what is no program; else its name is looked for on PATH")
    optional: bool = Field(default=False, description="A cluster is complete without it")


class Lock(Data):
    """All of `components.lock`."""

    schema_: Literal[1] = Field(alias="schema")
    component: dict[FileName, Component]
    pulled: tuple[str, ...] = Field(
        default=(), description="Full names of images that are pulled or brought: those of a network that is not pinned"
    )
    tool: dict[str, Tool] = Field(default_factory=dict)
    go: GoPin | None = None

    @model_validator(mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        if isinstance(value, dict):
            for table in ("component", "tool"):
                entries = value.get(table)
                if isinstance(entries, dict):
                    value[table] = {
                        name: {**entry, "name": name} if isinstance(entry, dict) else entry
                        for name, entry in entries.items()
                    }
        return value

    @property
    def everywhere(self) -> tuple[str, ...]:
        """Names of the components that are had without being named: all but those of one provider alone."""
        return tuple(name for name, component in self.component.items() if not component.optional)

    def find(self, name: str) -> Component:
        """The component of that name, or the one that delivers a program of that name.

        Raises:
            UsageError: Neither is in the lock.
        """
        if name in self.component:
            return self.component[name]
        for component in self.component.values():
            if name in programs(component):
                return component
        msg = f"no component is named {name!r}"
        raise UsageError(msg, where="components.lock", next_step=f"choose from: {', '.join(self.component)}")


def programs(component: Component) -> set[str]:
    """Names of the programs that a component can deliver, links included."""
    names = set(component.links)
    if component.system:
        names |= set(component.system.programs)
    if component.package:
        names |= set(component.package.files)
    if component.build:
        names |= set(component.build.files) | set(component.build.folders)
    names |= set(component.module)
    for artefact in component.release.artefacts if component.release else ():
        names |= set(artefact.files)
    return names


def load(path: Path | None = None) -> Lock:
    """Read and check the lock.

    Args:
        path: The file; by default the project's own.

    Raises:
        UsageError: The file cannot be read.
        SpecError: It is not valid; carries every problem.
    """
    path = path or resources.root() / "components.lock"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"cannot read {path}"
        raise UsageError(msg, cause=str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is not valid TOML"
        raise SpecError(msg, [Problem(str(path), "(document)", str(error))]) from error
    try:
        return Lock.model_validate(document)
    except ValidationError as error:
        problems = [
            Problem(str(path), ".".join(str(part) for part in problem["loc"]) or "(document)", problem["msg"])
            for problem in error.errors()
        ]
        msg = f"{path} is not a valid lock"
        raise SpecError(msg, problems) from error
