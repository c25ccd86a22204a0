"""Small faults put into policies, one at a time: a test should notice each.

Made on the tree that OPA parses, and applied to the text that the tree's locations name, so that a mutant differs from
the source in one place and in nothing else. What OPA can't compile afterwards is no mutant.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.policy.authoring.syntax import Module, Span, rule_name, walk

_COMPARED: Final = {
    "equal": ("==", "!="),
    "neq": ("!=", "=="),
    "lt": ("<", "<="),
    "lte": ("<=", "<"),
    "gt": (">", ">="),
    "gte": (">=", ">"),
}
_COMBINED: Final = {"minus": ("-", "|"), "and": ("&", "|"), "or": ("|", "&")}
_ASSIGNED: Final = frozenset({"assign"})
_LONGEST: Final = 72
_MEMBER: Final = "internal.member_2"
Domains = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change.

    Attributes:
        file: the name that it is laid out under.
        line: 1-based, where it begins.
        rule: in which it is.
        kind: negate | drop_condition | compare | combine | constant | drop_rule | widen | narrow.
        before: the text that is replaced.
        after: what stands there instead.
        span: where in the file.
    """

    file: str
    line: int
    rule: str
    kind: str
    before: str
    after: str
    span: Span

    @property
    def change(self) -> str:
        """In one line."""
        return f"{_short(self.before)} -> {_short(self.after) or 'nothing'}"

    def apply(self, text: str) -> str:
        """The file with the change in it."""
        return text[: self.span.start] + self.after + text[self.span.end :]


def find_domains(modules: Iterable[Module]) -> Domains:
    """What each reference is compared with anywhere: ``input.change.kind`` -> ``"new"``, ``"changed"``, ..."""
    found: dict[str, set[str]] = {}
    for module in modules:
        for node in walk(module.rules):
            operator, operands = _call(node)
            if operator == "equal" and len(operands) == 2:  # noqa: PLR2004
                pairs = [(operands[0], [operands[1]]), (operands[1], [operands[0]])]
            elif operator == _MEMBER:
                pairs = [(operands[0], _elements(operands[1]))]
            else:
                continue
            for ref, values in pairs:
                if ref.get("type") == "ref":
                    texts = {module.text_of(value) for value in values if value.get("type") == "string"}
                    found.setdefault(module.text_of(ref), set()).update(texts)
    return {ref: frozenset(values) for ref, values in found.items() if values}


def find_mutants(module: Module, domains: Domains) -> list[Mutant]:
    """Every mutant of a file, in the order of the text; none twice."""
    found: dict[tuple[int, int, str], Mutant] = {}
    for rule in module.rules:
        name = rule_name(rule)
        for kind, span, after in _of_rule(module, rule, domains):
            before = module.text[span.start : span.end]
            mutant = Mutant(module.name, span.line, name, kind, before, after, span)
            found.setdefault((span.start, span.end, after), mutant)
    return sorted(found.values(), key=lambda one: (one.span.start, one.span.end, one.kind, one.after))


_Change = tuple[str, Span, str]


def _of_rule(module: Module, rule: Mapping[str, Any], domains: Domains) -> Iterator[_Change]:
    body = [one for one in rule.get("body") or () if "location" in one and module.is_written(one)]
    if body and not rule.get("default"):
        first, last = module.span(body[0]), module.span(body[-1])
        yield "drop_rule", Span(first.start, last.end, first.line), "false"
    for node in walk([{key: value for key, value in rule.items() if key != "location"}]):
        if isinstance(node.get("body"), list):
            yield from _of_body(module, node["body"])
        yield from _of_call(module, node, domains)
        yield from _of_constant(module, node)


def _of_body(module: Module, body: Sequence[Mapping[str, Any]]) -> Iterator[_Change]:
    for one in body:
        if "terms" not in one or not _is_condition(one) or not module.is_written(one):
            continue
        span = module.span(one)
        text = module.text[span.start : span.end]
        if one.get("negated"):
            yield "negate", span, text.removeprefix("not").lstrip()
        elif not (isinstance(one["terms"], dict) and "domain" in one["terms"]):
            yield "negate", span, f"not {text}"
        yield "drop_condition", span, "true"


def _is_condition(expression: Mapping[str, Any]) -> bool:
    """Whether it asks something: a declaration or an assignment can't be left out."""
    terms = expression["terms"]
    if isinstance(terms, dict):
        return "symbols" not in terms and terms.get("type") != "boolean"
    return _operator(terms[0]) not in _ASSIGNED


_BOOLEANS: Final = {"true": "false", "false": "true"}


def _of_call(module: Module, node: Mapping[str, Any], domains: Domains) -> Iterator[_Change]:
    operator, operands = _call(node)
    swapped = _COMPARED.get(operator) or _COMBINED.get(operator)
    if swapped and len(operands) == 2:  # noqa: PLR2004
        place = _place_of_operator(module, node)
        if place is not None and module.text[place.start : place.end] == swapped[0]:
            yield ("compare" if operator in _COMPARED else "combine"), place, swapped[1]
    if operator == _MEMBER and operands[1].get("type") in {"set", "array"}:
        yield from _of_members(module, operands[0], operands[1], domains)


def _of_members(
    module: Module, asked: Mapping[str, Any], members: Mapping[str, Any], domains: Domains
) -> Iterator[_Change]:
    texts = [module.text_of(element) for element in members["value"]]
    span = module.span(members)
    opened, closed = ("{", "}") if members["type"] == "set" else ("[", "]")
    for value in sorted(domains.get(module.text_of(asked), frozenset()) - set(texts)):
        yield "widen", span, f"{opened}{', '.join([*texts, value])}{closed}"
    for at in range(len(texts)) if len(texts) > 1 else ():
        yield "narrow", span, f"{opened}{', '.join(texts[:at] + texts[at + 1 :])}{closed}"


def _of_constant(module: Module, node: Mapping[str, Any]) -> Iterator[_Change]:
    kind = node.get("type")
    if kind not in {"string", "number", "boolean"} or "location" not in node:
        return
    span = module.span(node)
    text = module.text[span.start : span.end]
    if kind == "string" and text.startswith('"'):
        yield "constant", span, json.dumps(f"{node['value']}_")
    elif kind == "number" and text.lstrip("-").isdigit():
        yield "constant", span, str(int(text) + 1)
    elif kind == "boolean" and text in _BOOLEANS:
        yield "constant", span, _BOOLEANS[text]


# --- OPA's tree ----------------------------------------------------------------------------------------------------


def _call(node: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]]]:
    """Operator and operands of a call, whether it is an expression or a term."""
    parts = node.get("terms") if isinstance(node.get("terms"), list) else None
    if parts is None and node.get("type") == "call":
        parts = node["value"]
    return (_operator(parts[0]), list(parts[1:])) if parts else ("", [])


def _operator(ref: Mapping[str, Any]) -> str:
    value = ref.get("value")
    return ".".join(str(part["value"]) for part in value) if isinstance(value, list) else ""


def _place_of_operator(module: Module, node: Mapping[str, Any]) -> Span | None:
    parts = node["terms"] if isinstance(node.get("terms"), list) else node["value"]
    return module.span(parts[0]) if "location" in parts[0] else None


def _elements(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(node["value"]) if node.get("type") in {"set", "array"} else []


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
