"""Why the policies decide as they do: which conditions of a rule do not hold, and what they found instead.

Each body of a rule is asked as far as its first condition, as far as its second, and so on: the first that is not
reached is what is lacking. A condition that names another rule is explained by that rule in turn. So the answer is one
of the policies themselves, and no reading of a trace.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.errors import InputError
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.syntax import Module, parse_sources, rule_name, walk
from placet.policy.authoring.tree import Tree
from placet.policy.data import PolicyData

_DEPTH: Final = 8
_ASKED: Final = "placet_why"
_DATA: Final = ("data", "placet")


@dataclass(frozen=True, slots=True)
class Lack:
    """A condition that does not hold.

    Attributes:
        file: as the author calls it.
        line: 1-based.
        text: the condition, in one line.
        found: what it names -> the value there; what has none is missing.
        because: why not, where it names other rules.
    """

    file: str
    line: int
    text: str
    found: Mapping[str, Any]
    missing: tuple[str, ...]
    because: tuple[Lack, ...]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one rule says.

    Attributes:
        rule: id.
        file: where its ``passes`` is.
        lacks: the first condition that fails, for each way in which it could have passed; empty where it passes.
        report: what it reports.
        used: paths into the policy data that it reads, itself or by what it shares with other rules.
    """

    rule: str
    file: str
    line: int
    passed: bool
    lacks: tuple[Lack, ...]
    report: tuple[Any, ...]
    used: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision and what every rule says.

    Attributes:
        decision: as the policies gave it.
    """

    decision: Mapping[str, Any]
    rulings: tuple[Ruling, ...]


def explain(opa: Opa, tree: Tree, data: PolicyData, document: Mapping[str, Any]) -> Explanation:
    """Ask the policies about one input, and each rule why.

    Args:
        opa: judges.
        tree: policies; whole or an overlay.
        data: the policy data.
        document: the policy input, of its schema.

    Raises:
        SyntaxFault: the policies do not compile.
        InputError: ``opa_failed``.
    """
    names = [name for name, one in tree.sources.items() if name.startswith("admission/") and not one.is_test]
    rules = sorted({tree.sources[name].rule for name in names} - {""})
    with tree.laid_out() as folder:
        modules = parse_sources(opa, tree, folder, names)
        asked = _Asked(tree, {module.package: module for module in modules.values()})
        changes = {name: asked.instrument(module) for name, module in modules.items()}
    kept = {name: one.text for name, one in tree.sources.items() if name in names} | changes
    stamped = {"placet": data.stamped(expected_rules=len(rules))}
    with tree.laid_out() as folder:
        for name in tree.sources:
            (folder / name).unlink()
        for name, text in kept.items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "placet.json").write_text(json.dumps(stamped), encoding="utf-8")
        answer = _eval(opa, folder, document)
    asked.answers = answer
    return Explanation(answer["main"]["decision"], tuple(asked.ruling(rule) for rule in rules))


def _eval(opa: Opa, folder: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    ran = opa.run(
        "eval", "--data", ".", "--stdin-input", "--format", "json", "data.admission", folder=folder,
        given=json.dumps(document),
    )  # fmt: skip
    if ran.code != 0:
        raise InputError(
            f"the policies can't be explained: {(ran.stderr or ran.stdout).strip()[:1500]}", code="opa_failed"
        )
    value: dict[str, Any] = ran.value()["result"][0]["expressions"][0]["value"]
    return value


class _Asked:
    """What is asked of each module beside what it says itself, and how the answers are read."""

    def __init__(self, tree: Tree, modules: Mapping[str, Module]) -> None:
        self._tree = tree
        self._modules = modules
        self.answers: Mapping[str, Any] = {}

    # --- asking ----------------------------------------------------------------------------------------------------

    def instrument(self, module: Module) -> str:
        """The module with a rule for each prefix of each body, and one for each thing that a condition names."""
        lines = [module.text]
        for at, rule in enumerate(module.rules):
            if not _can_be_asked(module, rule):
                continue
            texts: list[str] = []
            for step, condition in enumerate(rule["body"]):
                if not _declares(condition):  # of a part of the body, not all that is declared is used
                    texts.append(module.text_of(condition))
                    lines.append(f"{_ASKED}_{at} contains {step} if {{\n\t" + "\n\t".join(texts) + "\n}\n")
        named = sorted({ref for rule in module.rules for ref in self._named(module, rule)})
        lines += [f"{_ASKED}_value[{json.dumps(ref)}] := {ref}\n" for ref in named]
        return "\n".join(lines)

    def _named(self, module: Module, node: Any) -> Iterator[str]:
        """References in a tree that can be asked by themselves: nothing in them hangs on a variable of the body."""
        for one in walk([node]):
            if one.get("type") == "ref" and "location" in one and isinstance(one.get("value"), list):
                text = module.text_of(one)
                if self._is_ground(module, one) and text.isprintable():
                    yield text
            elif one.get("type") == "var" and "location" in one and self._has_value(module, str(one["value"])):
                yield str(one["value"])

    def _is_ground(self, module: Module, ref: Mapping[str, Any]) -> bool:
        head, *rest = ref["value"]
        if head["type"] != "var":
            return False
        known = head["value"] in {"input", "data"} or head["value"] in self._imports(module)
        if not known and not self._has_value(module, str(head["value"])):
            return False
        if self._is_function(module, ref):
            return False
        return bool(rest) and all(self._is_step(module, part) for part in rest)

    def _is_step(self, module: Module, part: Mapping[str, Any]) -> bool:
        return part.get("type") in {"string", "number"} or (part.get("type") == "ref" and self._is_ground(module, part))

    def _imports(self, module: Module) -> dict[str, str]:
        """Name -> package, of the modules that are imported."""
        return {name: package for name, package in module.imports.items() if package in self._modules}

    def _has_value(self, module: Module, name: str) -> bool:
        found = module.definitions(name)
        return bool(found) and not any("args" in rule["head"] for rule in found)

    def _is_function(self, module: Module, ref: Mapping[str, Any]) -> bool:
        target = self._target(module, ref)
        return target is not None and not self._has_value(*target)

    def _target(self, module: Module, node: Mapping[str, Any]) -> tuple[Module, str] | None:
        """Module and name of the rule that a reference or a variable names."""
        if node.get("type") == "var":
            return (module, str(node["value"])) if module.definitions(str(node["value"])) else None
        parts = [str(part.get("value")) for part in node["value"]]
        if (package := self._imports(module).get(parts[0])) and len(parts) > 1:
            other = self._modules[package]
            return (other, parts[1]) if other.definitions(parts[1]) else None
        return (module, parts[0]) if module.definitions(parts[0]) else None

    # --- reading ---------------------------------------------------------------------------------------------------

    def ruling(self, rule: str) -> Ruling:
        """What a rule said."""
        module = self._modules[f"admission.rules.{rule}"]
        said = self._said(module)
        passed = said.get("passes") is True
        return Ruling(
            rule=rule,
            file=self._tree.shown(module.name),
            line=module.line_of("passes"),
            passed=passed,
            lacks=() if passed else tuple(self._lacks(module, "passes", _DEPTH)),
            report=tuple(said.get("report") or ()),
            used=tuple(sorted(self._used(module, "passes") | self._used(module, "report"))),
        )

    def _said(self, module: Module) -> Mapping[str, Any]:
        value: Any = self.answers
        for step in module.package.split(".")[1:]:
            value = value.get(step, {})
        return value if isinstance(value, Mapping) else {}

    def _lacks(self, module: Module, name: str, depth: int) -> Iterator[Lack]:
        """The first condition that fails, for each way in which a rule could have held."""
        said = self._said(module)
        for at, rule in enumerate(module.rules):
            if rule_name(rule) != name or not _can_be_asked(module, rule):
                continue
            reached = said.get(f"{_ASKED}_{at}") or ()
            for step, condition in enumerate(rule["body"]):
                if step not in reached and not _declares(condition):
                    yield self._lack(module, condition, depth)
                    break

    def _lack(self, module: Module, condition: Mapping[str, Any], depth: int) -> Lack:
        values = self._said(module).get(f"{_ASKED}_value") or {}
        named = list(dict.fromkeys(self._named(module, condition)))
        because: list[Lack] = []
        if depth > 0 and not condition.get("negated"):
            for target in self._targets(module, condition):
                # Only what has no value, or is false, is a reason; a set that is too small is told by its value.
                if self._said(target[0]).get(target[1]) in (None, False):
                    because += self._lacks(*target, depth - 1)
        return Lack(
            file=self._tree.shown(module.name),
            line=module.span(condition).line,
            text=" ".join(module.text_of(condition).split()),
            # That something is false, or is not there, is said already where a reason is.
            found={name: values[name] for name in named if name in values and not (because and values[name] is False)},
            missing=() if because else tuple(name for name in named if name not in values),
            because=tuple(because),
        )

    def _targets(self, module: Module, node: Any) -> list[tuple[Module, str]]:
        found: dict[tuple[str, str], tuple[Module, str]] = {}
        for one in walk([node]):
            if one.get("type") in {"ref", "var"} and (one.get("type") == "var" or isinstance(one.get("value"), list)):
                target = self._target(module, one)
                if target is not None:
                    found.setdefault((target[0].package, target[1]), target)
        return list(found.values())

    def _used(self, module: Module, name: str) -> set[tuple[str, ...]]:
        """Paths into the policy data that a rule and all that it names read."""
        found: set[tuple[str, ...]] = set()
        waiting, seen = [(module, name)], set[tuple[str, str]]()
        while waiting:
            here, rule = waiting.pop()
            if (here.package, rule) in seen:
                continue
            seen.add((here.package, rule))
            definitions = here.definitions(rule)
            for one in walk(definitions):
                if one.get("type") == "ref" and isinstance(one.get("value"), list):
                    found |= {path for path in (self._path(here, one), self._path_behind(here, one)) if path}
            waiting += self._targets(here, definitions)
        return {path for path in found if not any(other != path and other[: len(path)] == path for other in found)}

    def _path(self, module: Module, ref: Mapping[str, Any]) -> tuple[str, ...]:
        """The path below data.placet, as far as it is known; where it hangs on the input, with what the input says."""
        parts = ref["value"]
        if tuple(part.get("value") for part in parts[:2]) != _DATA:
            return ()
        values = self._said(module).get(f"{_ASKED}_value") or {}
        path = []
        for part in parts[2:]:
            step = part["value"] if part["type"] == "string" else None
            if part["type"] == "ref" and "location" in part:
                step = values.get(module.text_of(part))
            if not isinstance(step, str):
                break
            path.append(step)
        return tuple(path)

    def _path_behind(self, module: Module, ref: Mapping[str, Any]) -> tuple[str, ...]:
        """The path of a member of what another rule takes out of the data: ``environment.settings.mode``."""
        target = self._target(module, ref)
        skip = 2 if ref["value"][0]["value"] in self._imports(module) else 1
        steps = [str(part["value"]) for part in ref["value"][skip:] if part["type"] == "string"]
        if target is None or not steps or len(steps) != len(ref["value"]) - skip:
            return ()
        refs = [one for one in walk(target[0].definitions(target[1])) if one.get("type") == "ref"]
        paths = {path for one in refs if isinstance(one.get("value"), list) if (path := self._path(target[0], one))}
        return (*paths.pop(), *steps) if len(paths) == 1 else ()


def _can_be_asked(module: Module, rule: Mapping[str, Any]) -> bool:
    """Not functions, whose arguments nobody knows, nor what has no body."""
    body = rule.get("body") or ()
    return (
        not rule.get("default")
        and "args" not in rule["head"]
        and bool(body)
        and all(module.is_written(one) for one in body)
    )


def _declares(condition: Mapping[str, Any]) -> bool:
    """Whether it is ``some x`` alone; ``some x in xs`` asks something."""
    terms = condition["terms"]
    return isinstance(terms, dict) and all(one.get("type") == "var" for one in terms.get("symbols") or [{}])
