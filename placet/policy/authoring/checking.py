"""What can be said against policies before they decide anything, each with its file and line.

In this order, since what comes later can't be asked before: what lies in the folder; whether it is Rego; packages and
ids; compiled strictly, with the types of the schemas and native builtins alone; the format; the rules about rules;
and what each rule costs.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from placet.errors import EngineError
from placet.policy.authoring.annotations import read_annotations
from placet.policy.authoring.cost import Meter, large_request, ordinary_request
from placet.policy.authoring.days import find_day_faults, with_days
from placet.policy.authoring.findings import Finding, of_opa_errors
from placet.policy.authoring.names import find_taken_names
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.syntax import Module, SyntaxFault, parse_sources, rule_name
from placet.policy.authoring.texts import find_text_faults
from placet.policy.authoring.tree import CAPABILITIES, CONVENTIONS, Source, Tree
from placet.policy.data import PolicyData

RULE_FUEL: Final = 50_000_000
"""Most that one rule may use for one request: a tenth of the most that a gate gives a whole decision."""
_SCHEMAS: Final = """# METADATA
# scope: subpackages
# schemas:
#   - input: schema.input
#   - data.placet: schema.data
package admission
"""
_STAMPS: Final[Mapping[str, Any]] = {
    "digest": {"type": "string"},
    "expected_rules": {"type": "integer"},
    "effective_time_s": {"type": "integer"},
}
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


def find_faults(opa: Opa, tree: Tree, data: PolicyData) -> list[Finding]:
    """All that is wrong with the author's policies, sorted; what keeps the rest from being seen stands alone.

    Args:
        opa: parses, compiles and runs the rules about rules.
        tree: policies.
        data: the policy data that the costs are measured with.

    Raises:
        InputError: opa does not do what it is asked.
    """
    found = list(tree.strays)
    if not tree.rules and not tree.overlay:
        found.append(Finding(tree.root.as_posix(), 1, "no_rules", "there is no rule in rules/CATEGORY/RULE"))
    found += [*find_text_faults(tree), *find_day_faults(tree), *find_taken_names(tree)]
    if found:
        return sorted(found)
    tree = with_days(tree)
    # Beside the policies and not among them: what is written for a check is no policy.
    with tree.laid_out() as folder, tempfile.TemporaryDirectory(prefix="placet-check-") as aside:
        try:
            modules = parse_sources(opa, tree, folder, (source.name for source in tree.own))
        except SyntaxFault as fault:
            return sorted(fault.findings)
        found = [*_find_lenient(tree, modules)]
        misplaced = [
            *found,
            *_find_misplaced(tree, modules),
            *_find_twins(tree, modules),
            *_find_shadows(tree, modules),
        ]
        if found := misplaced:
            return sorted(set(found))
        found = [*_compile(opa, tree, folder, Path(aside))]
        found += _find_unformatted(opa, tree, folder)
        if any(one.code.startswith("rego_") for one in found):
            return sorted(found)
        found += _ask_conventions(opa, tree, folder, Path(aside), modules)
        if not found:  # compiled once more, and the slowest of all
            found += _find_costly(opa, tree, folder, modules, data)
    return sorted(found)


# --- packages ------------------------------------------------------------------------------------------------------


def _find_misplaced(tree: Tree, modules: Mapping[str, Module]) -> Iterator[Finding]:
    """Packages that their folder does not say. A package one level higher or lower could stand in for another rule."""
    for name, module in modules.items():
        source = tree.sources[name]
        wanted = _packages(source)
        if not wanted:
            yield Finding(source.shown, 1, "out_of_place", "a rule lies in rules/CATEGORY/RULE, each [a-z][a-z0-9_]*")
        elif module.package not in wanted:
            message = f"the package is {module.package}, and the folder says {' or '.join(wanted)}"
            yield Finding(source.shown, module.line, "package_misplaced", message)


def _packages(source: Source) -> tuple[str, ...]:
    """Packages that a file may hold."""
    path = PurePosixPath(source.name)
    parent = ".".join(path.parent.parts)
    if source.name.startswith("admission/rules/"):
        category, _, rule = source.rule.partition(".")
        if not (_NAME.fullmatch(category) and _NAME.fullmatch(rule)) or len(path.parts) != _RULE_PARTS:
            return ()
        return (f"tests.{source.rule}_test",) if source.is_test else (parent,)
    if source.is_test:
        return (f"tests.{path.stem}", ".".join(("tests", *path.parts[1:-2], path.stem)))
    return (parent, f"{parent}.{path.stem}")


_RULE_PARTS: Final = 5


def _find_twins(tree: Tree, modules: Mapping[str, Module]) -> Iterator[Finding]:
    """Packages that two files hold: two rules of one id, or a part of one that hides in another file."""
    seen: dict[str, str] = {}
    for name, module in sorted(modules.items()):
        source = tree.sources[name]
        if first := seen.get(module.package):
            what = f"the rule {source.rule}" if source.rule and not source.is_test else f"the package {module.package}"
            yield Finding(source.shown, module.line, "duplicate_id", f"{what} is in {first} already")
        seen.setdefault(module.package, source.shown)


def _find_shadows(tree: Tree, modules: Mapping[str, Module]) -> Iterator[Finding]:
    """What would stand in, above or below a package that ships, or among the rules of a category that ships.

    In Rego a second file of a package adds to each of its rules: one more ``passes`` admits what the first refuses.
    """
    shipped = sorted(
        {
            _packages(source)[-1 if source.name.startswith("tests/") else 0]
            for source in tree.sources.values()
            if not source.own
        }
    )
    taken = {source.rule.partition(".")[0] for source in tree.sources.values() if source.rule and not source.own}
    for name, module in modules.items():
        source = tree.sources[name]
        category = source.rule.partition(".")[0]
        if category in taken:
            message = f"placet's own rules are in {category}: take a category of your own"
            yield Finding(source.shown, module.line, "shadows_shipped", message)
        elif near := [one for one in shipped if _is_within(one, module.package)]:
            message = f"placet ships the package {near[0]}: take one that is not in, above or below it"
            yield Finding(source.shown, module.line, "shadows_shipped", message)


def _is_within(one: str, other: str) -> bool:
    """Whether two packages are one, or one of them is a part of the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _find_lenient(tree: Tree, modules: Mapping[str, Module]) -> Iterator[Finding]:
    """Rules that pass when nothing is known: what is undefined would no longer refuse."""
    for source in tree.rules.values():
        module = modules[source.name]
        for rule in module.definitions("passes"):
            if rule.get("default") and rule["head"].get("value", {}).get("value") is not False:
                message = f"{source.rule} would pass where nothing is shown: a default of passes can only be false"
                yield Finding(source.shown, int(rule["location"]["row"]), "passes_by_default", message)


# --- compiled ------------------------------------------------------------------------------------------------------


def _compile(opa: Opa, tree: Tree, folder: Path, aside: Path) -> Iterator[Finding]:
    schemas = aside / "schemas"
    schemas.mkdir()
    (aside / "schemas.rego").write_text(_SCHEMAS, encoding="utf-8")
    (aside / CAPABILITIES).write_bytes(tree.capabilities)
    (schemas / "input.json").write_bytes(tree.schemas["input"])
    (schemas / "data.json").write_text(json.dumps(_stamped(tree.schemas["data"])), encoding="utf-8")
    options = [
        "check",
        "--strict",
        "--format",
        "json",
        "--max-errors",
        "0",
        "--capabilities",
        str(aside / CAPABILITIES),
    ]
    typed = ["--schema", str(schemas), "--ignore", "*_test.rego", "admission", str(aside / "schemas.rego")]
    found = set()
    for more in (typed, _folders(tree)):
        found |= set(of_opa_errors(opa.run(*options, *more, folder=folder).errors(), tree.shown))
    yield from found


def _folders(tree: Tree) -> list[str]:
    return sorted({name.partition("/")[0] for name in tree.sources})


def _stamped(raw: bytes) -> dict[str, Any]:
    """The schema of the data as an engine is given it: with the two stamps, without what no rule sees."""
    schema: dict[str, Any] = json.loads(raw)
    properties = {name: value for name, value in schema["properties"].items() if name != "detection"}
    return {**schema, "properties": {**properties, **_STAMPS}}


def _find_unformatted(opa: Opa, tree: Tree, folder: Path) -> Iterator[Finding]:
    listed = opa.run("fmt", "--list", *_folders(tree), folder=folder)
    for name in filter(None, listed.stdout.splitlines()):
        source = tree.sources[name]
        if not source.own:
            continue
        if "\r" in source.text:
            line = source.text.count("\n", 0, source.text.index("\r")) + 1
            yield Finding(source.shown, line, "not_formatted", "lines end in CR LF: run `opa fmt --write` over it")
            continue
        wanted = opa.run("fmt", name, folder=folder).stdout.splitlines()
        given = source.text.splitlines()
        pairs = enumerate(zip(given, wanted, strict=False), start=1)
        line = next((at for at, (is_, must) in pairs if is_ != must), min(len(given), len(wanted)))
        yield Finding(source.shown, max(line, 1), "not_formatted", "run `opa fmt --write` over it")


# --- rules about rules ---------------------------------------------------------------------------------------------


def _ask_conventions(
    opa: Opa, tree: Tree, folder: Path, aside: Path, modules: Mapping[str, Module]
) -> Iterator[Finding]:
    conventions = aside / PurePosixPath(CONVENTIONS).name
    conventions.write_bytes(tree.conventions)
    annotated = read_annotations(opa, folder)
    rules = []
    for name, module in sorted(modules.items()):
        source = tree.sources[name]
        if source.rule and not source.is_test:
            notes = annotated.get(module.package, {})
            defines = sorted({rule_name(rule) for rule in module.rules})
            rules.append({"id": source.rule, "file": source.shown, "defines": defines, "asks": source.asks, **notes})
    tests = [
        {"package": module.package, "name": rule_name(rule)} for module in modules.values() for rule in module.rules
    ]
    given = json.dumps({"rules": rules, "tests": tests, "controls": json.loads(tree.controls or b"{}")})
    query = ["eval", "--data", str(conventions), "--stdin-input", "--format", "json"]
    answer = opa.run(*query, "data.checks.conventions.violations", folder=folder, given=given).value()
    packages = {source.rule: modules[source.name] for source in tree.rules.values()}
    for violation in answer["result"][0]["expressions"][0]["value"]:
        module = packages[violation["rule"]]
        yield Finding(
            tree.shown(module.name), module.line, violation["code"], f"{violation['rule']}: {_sentence(violation)}"
        )


def _sentence(violation: Mapping[str, str]) -> str:
    field = violation["field"]
    match violation["code"]:
        case "text_missing":
            return f"its METADATA have no {field}"
        case "severity_unknown":
            return "its METADATA have no custom.severity of critical, high, medium, low, info"
        case "controls_missing":
            return "its METADATA name no custom.controls that it answers"
        case "no_test":
            return f"there is no test test_{field}_... in its test file"
        case "control_unknown":
            return f"no framework is known to have {field}; config/controls.json adds some of your own"
        case "requirement_of_another":
            return f"it asks whether {field} is required, and is not {field}"
        case "part_missing":
            return f"it defines no {field}, and without it is no rule that refuses with a reason"
        case code:
            return f"{code.replace('_', ' ')}: {field}"


# --- cost ----------------------------------------------------------------------------------------------------------


def _find_costly(
    opa: Opa, tree: Tree, folder: Path, modules: Mapping[str, Module], data: PolicyData
) -> Iterator[Finding]:
    """Rules that never end, as far as a gate would wait."""
    defined = {rule: tuple(rule_name(one) for one in modules[source.name].rules) for rule, source in tree.rules.items()}
    try:
        meter = Meter(opa, tree, folder, data, defined)
    except EngineError as error:
        yield Finding(tree.root.as_posix(), 1, error.code, str(error))
        return
    for rule in meter.rules:
        for what, request in (("an ordinary", ordinary_request(data)), ("a large", large_request(data))):
            cost = meter.rule(rule, request, fuel=RULE_FUEL)
            if cost.fault:
                source = tree.rules[rule]
                line = modules[source.name].line_of("passes")
                message = f"{rule} does not end on {what} request within {RULE_FUEL:,} units of fuel: {cost.fault}"
                yield Finding(source.shown, line, "too_costly", message)
                break
