"""From a user's YAML file to a `LabSpec`, or to a list of everything that is wrong with it.

    apiVersion: cnilab.dev/v1
    kind: Lab
    metadata: {name: workshop}
    spec:
      cni: flannel
      nodes: 3

Problems name file, line and column, what was expected, and a hint. All of them are found in one pass: a person who
mends a file should not have to meet its errors one by one.
"""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from harness import yamlio
from harness.errors import Problem, SpecError
from harness.model.base import Data
from harness.model.family import Family, IpFamily
from harness.model.plain import dotted_path, plain_data, seen
from harness.model.spec import ALL_LABS, CNI_VERSION, LabName, LabSpec

API_VERSION = "cnilab.dev/v1"
KIND = "Lab"

Path_ = tuple[str | int, ...]

_OPTIONS = "command line options"

_WHOLE: Path_ = ("spec",)
"""Where `LabSpec` reports what is wrong between fields."""


class Metadata(Data):
    """Who the lab is."""

    name: LabName = Field(default="lab", description="Part of paths, cgroups and host names: a short DNS label")


class Document(Data):
    """A lab spec as a file has it."""

    api_version: str = Field(alias="apiVersion", json_schema_extra={"const": API_VERSION})
    kind: str = Field(json_schema_extra={"const": KIND})
    metadata: Metadata = Metadata()
    spec: LabSpec = LabSpec()


_EXPECTED = {
    "metadata.name": "1 to 30 lower-case letters, digits and '-', with a letter or digit at both ends",
    "spec.kubernetes.version": 'a minor or full version, such as "1.37" or "1.37.2"',
    "spec.cniVersion": 'a full version of the network, such as "1.19.4"',
    "spec.services.domain": "a DNS domain, such as cluster.local",
}
"""What to say where a regular expression would be no help."""

_NETWORK = "an IPv4 network in CIDR notation without host bits, such as 10.244.0.0/16"

_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "ip_v4_network": _NETWORK,
    "ip_v6_network": "an IPv6 network in CIDR notation without host bits, such as fd00:10:244::/56",
    "value_error": _NETWORK,
}
"""What was expected, by pydantic's kind of error; networks are the only fields that raise ValueError themselves."""


def schema() -> dict[str, Any]:
    """JSON schema of a spec file, for editors."""
    described = Document.model_json_schema(by_alias=True)
    # A name lives in metadata; LabSpec has the field because everything below wants one object.
    described["$defs"]["LabSpec"]["properties"].pop("name", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://{API_VERSION}/lab.schema.json",
        **described,
        "title": "cnilab lab spec",
    }


def load_spec(
    path: Path,
    *,
    variants: Collection[str],
    labs: Collection[str] = (),
    overrides: Mapping[str, Any] | None = None,
    pinned: Collection[str] = (),
    network: Callable[[str], str] | None = None,
    families: Callable[[str], Collection[str]] | None = None,
) -> LabSpec:
    """Read a spec file.

    Args:
        path: The file.
        variants: Names of all CNI variants.
        labs: Ids of all labs; empty: not checked.
        overrides: Values of command line options by path in the document: `{"spec.nodes": 3}`.
        pinned: Minor versions of Kubernetes that are made here; empty: not checked.
        network: Says which version of its network a variant has unasked, empty for one that has none; None: not asked.
        families: Says which IP families a variant can give to pods; None: not asked.

    Raises:
        UsageError: The file cannot be read.
        SpecError: Something in it is wrong; has every problem.
    """
    document = yamlio.read_user_file(path)
    known = _Known(variants, labs, pinned, network, families)
    return _build(document, f"{path}", known, overrides or {})


def make_spec(
    variants: Collection[str],
    overrides: Mapping[str, Any],
    network: Callable[[str], str] | None = None,
    families: Callable[[str], Collection[str]] | None = None,
) -> LabSpec:
    """A spec from command line options alone.

    Args:
        variants: Names of all CNI variants.
        overrides: Values by path in the document.
        network: As for `load_spec`.
        families: Likewise.

    Raises:
        SpecError: A value is wrong.
    """
    base = {"apiVersion": API_VERSION, "kind": KIND}
    return _build(base, _OPTIONS, _Known(variants, network=network, families=families), overrides)


@dataclass(frozen=True)
class _Known:
    """Names and versions outside of the model that a spec may refer to; what is empty is not checked.

    Args:
        variants: Names of all CNI variants.
        labs: Ids of all labs.
        pinned: Minor versions of Kubernetes that are made here.
        network: Says which version of its network a variant has unasked; empty for one that has none.
        families: Says which IP families a variant can give to pods.
    """

    variants: Collection[str]
    labs: Collection[str] = ()
    pinned: Collection[str] = ()
    network: Callable[[str], str] | None = None
    families: Callable[[str], Collection[str]] | None = None


def _build(document: Any, source: str, known: _Known, overrides: Mapping[str, Any]) -> LabSpec:
    plain, problems = plain_data(document, source)
    for dotted, value in overrides.items():
        _set(plain, tuple(dotted.split(".")), value)
    locate = _Locator(document, source, overrides)
    problems += _header(plain, locate)
    found, parsed = _validate(plain, locate)
    said = {problem.path for problem in problems}
    problems += [problem for problem in found if problem.path not in said]
    problems += _references(plain, locate, known)
    if problems or parsed is None:
        problems.sort(key=_position_of)
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        msg = f"the {source} are not valid: {count}" if source == _OPTIONS else f"{source} is not a lab spec: {count}"
        raise SpecError(msg, problems)
    if known.network is not None and parsed.cni_version == known.network(parsed.cni):
        return parsed.model_copy(update={"cni_version": ""})  # the pinned one, said aloud
    return parsed


def _position_of(problem: Problem) -> tuple[int, ...]:
    numbers = problem.where.rsplit(":", 2)[1:]
    return tuple(int(number) for number in numbers) if all(n.isdigit() for n in numbers) else (0,)


class _Locator:
    """Turns a path in the document into `file:line:column`, or the option that set it."""

    def __init__(self, document: Any, source: str, overrides: Mapping[str, Any]) -> None:
        self.document = document
        self.source = source
        self.overrides = overrides

    def __call__(self, path: Path_) -> str:
        for dotted in self.overrides:
            if dotted == dotted_path(path):
                return option_of(dotted)
        line, column = yamlio.position(self.document, path)
        return f"{self.source}:{line}:{column}" if self.source != _OPTIONS else self.source


def option_of(dotted: str) -> str:
    """The option of the command line for a field: `--cni-version` of `spec.cniVersion`."""
    return "--" + re.sub(r"[A-Z]", lambda match: f"-{match[0].lower()}", dotted.rsplit(".", 1)[-1])


def _set(document: dict[str, Any], path: Path_, value: Any) -> None:
    node = document
    for key in path[:-1]:
        inner = node.get(str(key))
        if not isinstance(inner, dict):
            inner = {}
            node[str(key)] = inner
        node = inner
    node[str(path[-1])] = value


def _header(document: dict[str, Any], locate: _Locator) -> Iterator[Problem]:
    for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if key in document and document[key] != wanted:
            yield Problem(locate((key,)), key, f"is {seen(document[key])}", f"'{wanted}'")
    spec = document.get("spec")
    if isinstance(spec, dict) and "name" in spec:
        # LabSpec has the field, because everything below wants one object; a file has it in its metadata.
        keys = "keys " + ", ".join(sorted(_fields(LabSpec)))
        yield Problem(locate(("spec", "name")), "spec.name", "is an unknown key", keys, "a lab's name is metadata.name")


def _validate(document: dict[str, Any], locate: _Locator) -> tuple[list[Problem], LabSpec | None]:
    """Validate, mend what is wrong by leaving it out, and validate again, until nothing new is found."""
    problems: list[Problem] = []
    document = deepcopy(document)
    mended: set[str] = set()
    while True:
        try:
            # JSON mode is strict about types and still reads networks from text.
            parsed = Document.model_validate_json(json.dumps(document), strict=True)
        except ValidationError as error:
            progress = False
            for detail in error.errors(include_url=False):
                path = tuple(detail["loc"])
                problems += _problems(detail, path, locate, mended)
                progress = _drop(document, path, detail, mended) or progress
            if not progress:
                return problems, None
        else:
            spec = parsed.spec.model_copy(update={"name": parsed.metadata.name})
            return problems, None if problems else spec


def _drop(document: dict[str, Any], path: Path_, detail: ErrorDetails, mended: set[str]) -> bool:
    """Take what is wrong out of the document; True when something was taken out."""
    if detail["type"] == "missing":
        _set(document, path, "")  # only the header's texts are required, and `_header` has judged them
        return True
    if path == _WHOLE:
        return False
    node: Any = document
    for key in path[:-1]:
        node = node[key]
    if isinstance(node, list):
        node[int(path[-1])] = ""  # not removed: the positions of the others stay
    else:
        node.pop(path[-1])
    mended.add(dotted_path(path))
    return True


def _problems(detail: ErrorDetails, path: Path_, locate: _Locator, mended: set[str]) -> Iterator[Problem]:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    where, dotted = locate(path), dotted_path(path)
    if kind == "extra_forbidden":
        yield Problem(where, dotted, "is an unknown key", *_known_keys(path))
    elif kind == "missing":
        yield Problem(where, dotted, "is missing", f"'{API_VERSION if dotted == 'apiVersion' else KIND}'")
    elif path == _WHOLE and kind == "value_error":
        yield from _across_fields(str(context.get("error", detail["msg"])), path, locate, mended)
    elif kind in {"greater_than_equal", "less_than_equal"}:
        yield Problem(where, dotted, f"is {seen(value)}", _range(path))
    elif kind == "string_pattern_mismatch":
        yield Problem(where, dotted, f"is {seen(value)}", _EXPECTED.get(dotted, f"a match of {context['pattern']}"))
    elif kind == "literal_error":
        choices = str(context["expected"])
        yield Problem(where, dotted, f"is {seen(value)}", choices, _nearest(str(value), choices.split("'")[1::2]))
    else:
        expected = _EXPECTED.get(dotted) or _KINDS.get(kind) or detail["msg"].lower()
        yield Problem(where, dotted, f"is {seen(value)}", expected, _type_hint(kind, value))


def _across_fields(message: str, path: Path_, locate: _Locator, mended: set[str]) -> Iterator[Problem]:
    """`pods.cidr 10.0.0.0/8 overlaps services.cidr …; …`: one problem each, at the field that it begins with."""
    for part in message.split("; "):
        field, _, rest = part.partition(" ")
        dotted = f"{dotted_path(path)}.{field}"
        # Defaults stand in for what was left out above; what they clash with is not the user's doing.
        if any(name.removeprefix("spec.") in part for name in mended):
            continue
        yield Problem(locate((*path, *field.split("."))), dotted, rest or part)


def _references(document: dict[str, Any], locate: _Locator, known: _Known) -> Iterator[Problem]:
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return
    cni = spec.get("cni")
    if isinstance(cni, str) and cni not in known.variants:
        choices = "one of " + ", ".join(sorted(known.variants))
        yield Problem(locate(("spec", "cni")), "spec.cni", f"is {seen(cni)}", choices, _nearest(cni, known.variants))
    yield from _version(spec, locate, known.pinned)
    yield from _network_version(spec, locate, known)
    yield from _network_families(spec, locate, known)
    for index, lab in enumerate(spec["labs"]) if known.labs and isinstance(spec.get("labs"), list) else ():
        if isinstance(lab, str) and lab not in {*known.labs, ALL_LABS}:
            hint = _nearest(lab, known.labs) or "'cnilab labs list' shows all"
            yield Problem(locate(("spec", "labs", index)), f"spec.labs.{index}", f"is {seen(lab)}", "a lab's id", hint)


def _network_version(spec: dict[str, Any], locate: _Locator, known: _Known) -> Iterator[Problem]:
    """What is nothing but settings of nodes has no version of its own; and a cluster of others has the one it has."""
    version, cni = spec.get("cniVersion"), spec.get("cni", LabSpec().cni)
    if known.network is None or not isinstance(version, str) or cni not in known.variants:
        return
    path: Path_ = ("spec", "cniVersion")
    if not version or not re.fullmatch(CNI_VERSION, version):
        return  # what is wrong with its form is said already
    if not known.network(cni):
        expected = f"no version: the variant {cni} consists of settings of the nodes and has no images"
    elif spec.get("provider") == "existing":
        expected = "no version: the cluster already has a network"
    else:
        return
    yield Problem(locate(path), dotted_path(path), f"is {seen(version)}", expected)


def _network_families(spec: dict[str, Any], locate: _Locator, known: _Known) -> Iterator[Problem]:
    """A network that has no IPv6 gives none to pods, whatever nodes have."""
    wanted, cni = spec.get("ipFamily", "ipv4"), spec.get("cni", LabSpec().cni)
    if known.families is None or cni not in known.variants or wanted not in get_args(IpFamily):
        return
    able = set(known.families(cni))
    if not able.issuperset(get_args(Family) if wanted == "dual" else (wanted,)):
        path: Path_ = ("spec", "ipFamily")
        expected = f"{' or '.join(sorted(able))}: the variant {cni} has no other family"
        yield Problem(locate(path), dotted_path(path), f"is {seen(wanted)}", expected)


def _version(spec: dict[str, Any], locate: _Locator, pinned: Collection[str]) -> Iterator[Problem]:
    """A minor version that is not pinned says nothing about the patch, so there is nothing to get."""
    section = spec.get("kubernetes")
    version = section.get("version") if isinstance(section, dict) else None
    made_here = spec.get("provider", "namespaces") in ("namespaces", "kind")
    if pinned and made_here and isinstance(version, str) and version.count(".") == 1 and version not in pinned:
        path: Path_ = ("spec", "kubernetes", "version")
        hint = "a full version is downloaded as a release"
        choices = f"{', '.join(pinned)}, or a full version"
        yield Problem(locate(path), dotted_path(path), f"is {seen(version)}", choices, hint)


def _known_keys(path: Path_) -> tuple[str, str]:
    """Expected keys beside an unknown one, and the one that was probably meant."""
    keys = sorted(_fields(_model_at(path[:-1])))
    return "keys " + ", ".join(keys), _nearest(str(path[-1]), keys)


def _fields(model: type[BaseModel]) -> set[str]:
    names = {field.alias or name for name, field in model.model_fields.items()}
    return names - {"name"} if model is LabSpec else names


def _model_at(path: Path_) -> type[BaseModel]:
    model: type[BaseModel] = Document
    for key in path:
        for name, field in model.model_fields.items():
            if key in {name, field.alias}:
                inner = _model_of(field.annotation)
                if inner is not None:
                    model = inner
    return model


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {Union, types.UnionType}:
        return next((found for found in map(_model_of, get_args(annotation)) if found), None)
    return None


def _range(path: Path_) -> str:
    model = _model_at(path[:-1])
    for name, field in model.model_fields.items():
        if path[-1] in {name, field.alias}:
            bounds = {key: getattr(part, key) for part in field.metadata for key in ("ge", "le") if hasattr(part, key)}
            unit = " bytes" if name == "mtu" else ""
            return f"{bounds.get('ge', '…')} to {bounds.get('le', '…')}{unit}"
    return ""


def _nearest(word: str, choices: Collection[str]) -> str:
    lowered = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower()[:100], lowered, n=1, cutoff=0.6)
    return f"did you mean '{lowered[near[0]]}'?" if near else ""


def _type_hint(kind: str, value: Any) -> str:
    if kind == "bool_type" and str(value).lower() in {"yes", "on", "no", "off"}:
        return f"YAML 1.2 reads '{value}' as text"
    if kind in {"int_type", "bool_type"} and isinstance(value, str):
        return "write it without quotes" if value.lower() in {"true", "false"} or value.isdigit() else ""
    if kind == "string_type" and isinstance(value, float):
        return "put it in quotes; otherwise YAML reads it as a number: 1.30 becomes 1.3"
    return ""
