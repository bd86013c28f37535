"""What a field of a cluster spec wants, in words, and what somebody probably meant who wrote something else."""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

from harness.model.document import Document
from harness.model.spec import LabSpec

Path_ = tuple[str | int, ...]
"""Of a value in a document."""

_EXPECTED: Final = {
    "metadata.name": "1 to 30 lower-case letters, digits and '-', with a letter or digit at both ends",
    "spec.kubernetes.version": 'a minor or full version, such as "1.37" or "1.37.2"',
    "spec.cniVersion": 'a full version of the network, such as "1.19.4"',
    "spec.services.domain": "a DNS domain, such as cluster.local",
}
"""What to say where a regular expression would be no help."""

_NETWORK: Final = "an IPv4 network in CIDR notation without host bits, such as 10.244.0.0/16"

_KINDS: Final = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "ip_v4_network": _NETWORK,
    "value_error": _NETWORK,
}
"""What was expected, by pydantic's kind of error; networks are the only fields that raise ValueError themselves."""

_NETWORK6: Final = "an IPv6 network in CIDR notation without host bits, such as fd00:10:244::/56"

_MEANT: Final = {"dualstack": "dual", "both": "dual", "ipv4ipv6": "dual", "ipv6ipv4": "dual"}
"""Words that are near to none of the right ones, without what is no letter and no digit."""


def expected(dotted: str, kind: str) -> str:
    """What a field wants; empty where nobody knows better than pydantic.

    Args:
        dotted: The field.
        kind: pydantic's kind of error.
    """
    if dotted.startswith(("spec.nodeAddresses.", "spec.secondAddresses.")):
        return "an IP address, such as 172.18.0.11"
    if dotted.startswith("spec.kernelArguments."):
        return "a word of a kernel's command line, without spaces and quotes, such as ipv6.disable=1"
    found = _EXPECTED.get(dotted) or _KINDS.get(kind, "")
    return _NETWORK6 if found == _NETWORK and dotted.endswith("cidr6") else found


def bounds(path: Path_) -> str:
    """The range of a number: `1 to 20`."""
    model = _model_at(path[:-1])
    for name, field in model.model_fields.items():
        if path[-1] in {name, field.alias}:
            found = {key: getattr(part, key) for part in field.metadata for key in ("ge", "le") if hasattr(part, key)}
            unit = " bytes" if name == "mtu" else ""
            return f"{found.get('ge', '…')} to {found.get('le', '…')}{unit}"
    return ""


def known_keys(path: Path_) -> tuple[str, str]:
    """Expected keys beside an unknown one, and the one that was probably meant."""
    keys = sorted(fields(_model_at(path[:-1])))
    return "keys " + ", ".join(keys), nearest(str(path[-1]), keys)


def fields(model: type[BaseModel]) -> set[str]:
    """Keys that a mapping of a spec file may have."""
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


def nearest(word: str, choices: Collection[str]) -> str:
    """The choice that was probably meant, as a question; empty when there is none."""
    lowered = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower()[:100], lowered, n=1, cutoff=0.6)
    found = lowered[near[0]] if near else _MEANT.get("".join(filter(str.isalnum, word.lower()[:100])), "")
    return f"did you mean '{found}'?" if found in choices else ""


def of_type(dotted: str, kind: str, value: Any) -> str:
    """What is wrong with the form of a value, where that is known; else empty.

    Args:
        dotted: The field.
        kind: pydantic's kind of error.
        value: As the file has it.
    """
    if kind == "bool_type" and str(value).lower() in {"yes", "on", "no", "off"}:
        return f"YAML 1.2 reads '{value}' as text"
    if kind in {"int_type", "bool_type"} and isinstance(value, str):
        return "write it without quotes" if value.lower() in {"true", "false"} or value.isdigit() else ""
    if kind == "string_type" and isinstance(value, float):
        return "put it in quotes; otherwise YAML reads it as a number: 1.30 becomes 1.3"
    if dotted.endswith(".cidr") and ":" in str(value):
        return "an IPv6 network belongs in cidr6"
    if dotted.endswith("cidr6") and "." in str(value):
        return "an IPv4 network belongs in cidr"
    return ""
