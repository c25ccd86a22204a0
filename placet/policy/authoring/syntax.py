"""Rego as OPA parses it: each rule, test and expression with the text that it stands in."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.errors import InputError
from placet.policy.authoring.findings import Finding, of_opa_errors
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.tree import Tree

AT_ONCE: Final = 2


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a file's text.

    Attributes:
        start: offset of its first character.
        end: offset behind its last one.
        line: 1-based, of the first character.
    """

    start: int
    end: int
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    """One parsed file.

    Attributes:
        name: under which it was laid out.
        package: ``admission.rules.risk.ceiling``.
        line: of the package clause.
        imports: name -> package, ``risk`` -> ``admission.lib.risk``.
        rules: OPA's trees of its rules, with locations.
    """

    name: str
    text: str
    package: str
    line: int
    imports: Mapping[str, str]
    rules: tuple[Mapping[str, Any], ...]

    def span(self, node: Mapping[str, Any]) -> Span:
        """Where a node with a location stands.

        Raises:
            InputError: ``opa_failed``: its text is not there, so its location can't be relied on.
        """
        place = node["location"]
        said = base64.b64decode(place["text"]).decode()
        lines = self.text.split("\n")
        start = sum(len(line) + 1 for line in lines[: place["row"] - 1]) + place["col"] - 1
        end = start + len(said)
        if self.text[start:end] != said:
            raise InputError(f"{self.name}:{place['row']}: opa locates a text that is not there", code="opa_failed")
        return Span(start, end, place["row"])

    def text_of(self, node: Mapping[str, Any]) -> str:
        """The text of a node with a location."""
        span = self.span(node)
        return self.text[span.start : span.end]

    def is_written(self, node: Mapping[str, Any]) -> bool:
        """Whether a node has a text of its own: OPA gives a rule without a body one that nobody wrote."""
        if "location" not in node:
            return False
        terms = node.get("terms")
        generated = isinstance(terms, dict) and terms.get("type") == "boolean"
        return not generated or self.text_of(node) in {"true", "false"}

    def extent(self, rule: Mapping[str, Any]) -> Span:
        """All that a rule takes up; of a default, OPA says only where the word stands."""
        span = self.span(rule)
        if not rule.get("default"):
            return span
        end = self.text.find("\n", span.end)
        return Span(span.start, len(self.text) if end < 0 else end, span.line)

    def definitions(self, name: str) -> list[Mapping[str, Any]]:
        """The rules of a name, in order; their defaults too."""
        return [rule for rule in self.rules if rule_name(rule) == name]

    def line_of(self, name: str) -> int:
        """Line of the first rule of a name; of the package where there is none."""
        found = [rule for rule in self.definitions(name) if not rule.get("default")]
        return int(found[0]["location"]["row"]) if found else self.line


def rule_name(rule: Mapping[str, Any]) -> str:
    """The name that a rule defines, ``persons`` of ``persons[role] contains ...``."""
    head = rule["head"]
    return str(head.get("name") or head["ref"][0]["value"])


def walk(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every object of OPA's tree, from the outside in."""
    if isinstance(node, Mapping):
        yield node
        for key, child in node.items():
            if key not in {"location", "annotations"}:
                yield from walk(child)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from walk(child)


def parse_sources(opa: Opa, tree: Tree, folder: Path, names: Iterable[str]) -> dict[str, Module]:
    """Parse files that were laid out.

    Raises:
        SyntaxFault: some are no Rego.
    """
    wanted = list(names)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda name: _parse(opa, tree, folder, name), wanted))
    faults = [fault for answer in answers if isinstance(answer, list) for fault in answer]
    if faults:
        raise SyntaxFault(faults)
    return {name: answer for name, answer in zip(wanted, answers, strict=True) if isinstance(answer, Module)}


class SyntaxFault(InputError):
    """Rego that can't be parsed or compiled.

    Attributes:
        findings: each with its file and line.
    """

    code = "rego_invalid"

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)), hint="Mend this first; `placet policy check` says the rest.")
        self.findings = findings
        self.lines = tuple(map(str, findings))


def _parse(opa: Opa, tree: Tree, folder: Path, name: str) -> Module | list[Finding]:
    ran = opa.run("parse", "--format", "json", "--json-include", "locations,-comments", name, folder=folder)
    if ran.code != 0:
        return of_opa_errors(ran.errors(), tree.shown) or [
            Finding(tree.shown(name), 1, "rego_parse_error", ran.stderr.strip()[:500] or "opa can't parse it")
        ]
    answer = ran.value()
    if "package" not in answer:
        return [Finding(tree.shown(name), 1, "rego_parse_error", "there is no package in it")]
    path = answer["package"]["path"]
    return Module(
        name=name,
        text=tree.sources[name].text,
        package=".".join(str(part["value"]) for part in path[1:]),
        line=int(answer["package"]["location"]["row"]),
        imports=dict(_import(one) for one in answer.get("imports") or ()),
        rules=tuple(answer.get("rules") or ()),
    )


def _import(one: Mapping[str, Any]) -> tuple[str, str]:
    parts = [str(part["value"]) for part in one["path"]["value"]]
    return str(one.get("alias") or parts[-1]), ".".join(parts[1:])
