"""Expressions of lab files: Jinja2 syntax, plain JSON values, and no way out of them.

An expression sees dictionaries, lists, strings, numbers and nothing else, so it cannot reach Python's attributes; of
the methods of these types only a few harmless ones exist. `explain` says why an expression was false: it shows both
sides of the comparison that failed, as pytest does for an assert.
"""

from __future__ import annotations

import ipaddress
import json
import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateError, Undefined, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

METHODS: Final[Mapping[type, frozenset[str]]] = {
    str: frozenset({"count", "endswith", "lower", "replace", "split", "splitlines", "startswith", "strip", "upper"}),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
}
"""Methods that an expression may call, by the type of the value."""

BUILT_IN: Final = (
    "abs", "default", "first", "float", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min",
    "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr", "sort", "string", "sum", "trim",
    "unique", "upper", "dictsort", "tojson",
)  # fmt: skip
"""Filters of Jinja2 that make sense on data."""

SHOWN: Final = 300
"""Characters of a value in an explanation."""

SOLICITED_NODE: Final = int(ipaddress.IPv6Address("ff02::1:ff00:0"))


class ExpressionError(Exception):
    """An expression is wrong, or asks for something that is not there."""


def pluck(item: Any, path: str) -> Any:
    """The value at a dotted path, None where the path ends early: `pluck(pod, 'status.podIP')`."""
    for key in path.split("."):
        if isinstance(item, Mapping):
            item = item.get(key)
        elif isinstance(item, (list, tuple)) and key.isdigit() and int(key) < len(item):
            item = item[int(key)]
        else:
            return None
    return item


def where(items: Iterable[Any], path: str = "", value: Any = None, **equal: Any) -> list[Any]:
    """Those whose fields have the given values: `where(dev='cni0')`, `where('labels.app', 'web')`."""
    wanted = {**({path: value} if path else {}), **equal}
    return [item for item in items if all(pluck(item, key) == want for key, want in wanted.items())]


def except_(items: Iterable[Any], path: str = "", value: Any = None, **equal: Any) -> list[Any]:
    """Those that `where` leaves out."""
    items = list(items)
    found = where(items, path, value, **equal)
    return [item for item in items if item not in found]


def plucked(items: Iterable[Any], path: str) -> list[Any]:
    """One field of every item."""
    return [pluck(item, path) for item in items]


def keyed(items: Iterable[Any], path: str) -> dict[str, Any]:
    """The items by one of their fields."""
    return {str(pluck(item, path)): item for item in items}


def matching(value: str | Iterable[str], pattern: str) -> list[str]:
    """Lines, or items, in which the regular expression is found."""
    lines = value.splitlines() if isinstance(value, str) else [str(item) for item in value]
    return [line for line in lines if re.search(pattern, line)]


def capture(value: str, pattern: str) -> list[str]:
    """What the expression's group, or the whole expression, matches, wherever it does."""
    return [found.group(found.re.groups and 1) for found in re.finditer(pattern, value, re.MULTILINE)]


def in_order(value: str | Iterable[str], patterns: list[str]) -> bool:
    """True when each pattern is found in a line after the one of the pattern before it."""
    lines = iter(value.splitlines() if isinstance(value, str) else [str(item) for item in value])
    return all(any(re.search(pattern, line) for line in lines) for pattern in patterns)


def in_network(address: str, network: str) -> bool:
    """True when the address, with or without a prefix length, is inside the network."""
    try:
        return ipaddress.ip_interface(address).ip in ipaddress.ip_network(network)
    except ValueError:
        return False


def network_of(interface: str) -> str:
    """`10.244.1.1/24` is in `10.244.1.0/24`."""
    return str(ipaddress.ip_interface(interface).network)


def subnet_of(network: str, wider: str) -> bool:
    """True when the network is part of the wider one."""
    inner, outer = ipaddress.ip_network(network), ipaddress.ip_network(wider)
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False


def address(network: str, index: int) -> str:
    """The address with that number in a network: `address('10.244.1.0/24', 1)` is the gateway."""
    return str(ipaddress.ip_network(network)[index])


def solicited_node(address: str) -> str:
    """The group of those who may have the address: `ff02::1:ff` and its last 24 bits (RFC 4291 §2.7.1)."""
    last = int(ipaddress.IPv6Address(address)) & 0xFFFFFF
    return str(ipaddress.IPv6Address(SOLICITED_NODE | last))


def multicast_mac(address: str) -> str:
    """The MAC address of a group: `33:33` and its last 32 bits (RFC 2464 §7)."""
    return (b"\x33\x33" + ipaddress.IPv6Address(address).packed[-4:]).hex(":")


def disjoint(networks: Iterable[str]) -> bool:
    """True when no two of the networks overlap."""
    known = [ipaddress.ip_network(network) for network in networks]
    return not any(one.overlaps(other) for i, one in enumerate(known) for other in known[i + 1 :])


def from_json(text: str) -> Any:
    """Decoded JSON."""
    return json.loads(text)


def as_lines(text: str) -> list[str]:
    """Non-empty lines, without blanks at their ends."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def tally(items: Iterable[Any]) -> dict[str, int]:
    """How often each item occurs."""
    counts: dict[str, int] = {}
    for item in items:
        counts[str(item)] = counts.get(str(item), 0) + 1
    return counts


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "address": address,
    "all": all,
    "any": any,
    "capture": capture,
    "disjoint": disjoint,
    "except": except_,
    "from_json": from_json,
    "in_network": in_network,
    "in_order": in_order,
    "keyed": keyed,
    "lines": as_lines,
    "matching": matching,
    "median": statistics.median,
    "multicast_mac": multicast_mac,
    "network_of": network_of,
    "pluck": plucked,
    "solicited_node": solicited_node,
    "subnet_of": subnet_of,
    "tally": tally,
    "where": where,
}
"""Filters of our own; `docs/writing-a-lab.md` lists them."""


class _Environment(ImmutableSandboxedEnvironment):
    """Fields before methods, and of methods only `METHODS`."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """See `METHODS`; `value` is what Python would give."""
        allowed = next((names for kind, names in METHODS.items() if isinstance(obj, kind)), frozenset[str]())
        return attr in allowed and super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`pods.items` is the field `items` where there is one, and the method otherwise."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, autoescape=False)
    environment.filters = {name: environment.filters[name] for name in BUILT_IN} | dict(FILTERS)
    environment.globals = {"range": range}
    return environment


def _raw(source: str) -> str:
    """Backslashes in strings mean themselves, as regular expressions want it."""
    return source.replace("\\", "\\\\")


@lru_cache(maxsize=8192)
def _tree(source: str) -> nodes.Output:
    """The parsed expression, as the only node of an output: cheap, and enough to check it."""
    environment = _environment()
    try:
        template = environment.parse("{{ (" + _raw(source) + "\n) }}")
    except TemplateError as error:
        raise ExpressionError(str(error)) from error
    output = template.body[0] if len(template.body) == 1 else None
    if not isinstance(output, nodes.Output) or len(output.nodes) != 1:
        msg = "is not a single expression"
        raise ExpressionError(msg)
    for kind, known in ((nodes.Filter, environment.filters), (nodes.Test, environment.tests)):
        for used in output.find_all(kind):
            if used.name not in known:
                msg = f"there is no {kind.__name__.lower()} named '{used.name}'"
                raise ExpressionError(msg)
    if any(name.name == "self" for name in output.find_all(nodes.Name)):
        msg = "'self' is Jinja's own"
        raise ExpressionError(msg)
    return output


@lru_cache(maxsize=4096)
def _compiled(source: str) -> Callable[..., Any]:
    _tree(source)
    try:
        return _environment().compile_expression(_raw(source), undefined_to_none=False)
    except TemplateError as error:
        raise ExpressionError(str(error)) from error


def names(source: str) -> set[str]:
    """The variables that an expression asks for.

    Raises:
        ExpressionError: It is not an expression, or uses a filter that does not exist.
    """
    return {name.name for name in _tree(source).find_all(nodes.Name)} - _environment().globals.keys()


def evaluate(source: str, context: Mapping[str, Any]) -> Any:
    """The value of an expression.

    Args:
        source: Without braces.
        context: Its variables: plain JSON values.

    Raises:
        ExpressionError: It asks for something that is not there, or computes something impossible.
    """
    try:
        value = _compiled(source)(**context)
        if isinstance(value, Undefined):
            str(value)
    except ExpressionError:
        raise
    except Exception as error:
        msg = f"{source}: {error}"
        raise ExpressionError(msg) from error
    return value


PLACEHOLDER: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def placeholders(word: str) -> list[str]:
    """The expressions inside a word of a command line: `http://{{ pods.b.ip }}:8080/` has one."""
    return [found.strip() for found in PLACEHOLDER.findall(word)]


def render(word: str, context: Mapping[str, Any]) -> str:
    """A word with its expressions replaced by their values; whatever they hold, it stays one word.

    Raises:
        ExpressionError: As of `evaluate`.
    """
    return PLACEHOLDER.sub(lambda found: as_text(evaluate(found.group(1).strip(), context)), word)


def as_text(value: Any) -> str:
    """A value as a word of a command: numbers and texts as they are, lists and dictionaries as JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def shown(value: Any, limit: int = SHOWN) -> str:
    """A value for people, at most `limit` characters."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def explain(source: str, context: Mapping[str, Any]) -> str:
    """What the sides of an expression were: `10.244.1.5 == 10.244.2.2`; of a false `and`, only the false part."""
    return "; ".join(_explained(_tree(source).nodes[0], context)) or "not true"


def _explained(tree: nodes.Node, context: Mapping[str, Any]) -> list[str]:
    if isinstance(tree, nodes.And):
        sides = (tree.left, tree.right)
        false = [side for side in sides if not _part(side, context)]
        return [text for side in false or sides for text in _explained(side, context)]
    if isinstance(tree, nodes.Compare):
        words = [shown(_part(tree.expr, context))]
        for operand in tree.ops:
            sign = {"eq": "==", "ne": "!=", "lt": "<", "gt": ">", "lteq": "<=", "gteq": ">=", "notin": "not in"}
            words += [sign.get(operand.op, operand.op), shown(_part(operand.expr, context))]
        return [" ".join(words)]
    if isinstance(tree, nodes.Filter) and tree.node is not None:
        arguments = ", ".join(shown(_part(argument, context), 80) for argument in tree.args)
        return [f"{tree.name}({arguments}) of {shown(_part(tree.node, context))}"]
    if isinstance(tree, nodes.Call) and isinstance(tree.node, nodes.Getattr):
        arguments = ", ".join(shown(_part(argument, context), 80) for argument in tree.args)
        return [f"{tree.node.attr}({arguments}) of {shown(_part(tree.node.node, context))}"]
    return [shown(_part(tree, context))]


def _part(tree: nodes.Node, context: Mapping[str, Any]) -> Any:
    """The value of a part of an expression; what went wrong, as text, where it has none."""
    environment = _environment()
    holder = nodes.Template([nodes.Assign(nodes.Name("result", "store"), tree, lineno=1)], lineno=1)
    holder.set_environment(environment)
    try:
        module = environment.from_string(holder).make_module(dict(context))
        value = getattr(module, "result", None)
        return str(value) if isinstance(value, Undefined) else value
    except Exception as error:  # noqa: BLE001 - an explanation must not hide the failure that it explains
        return f"<{error}>"
