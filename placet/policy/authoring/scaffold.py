"""A new rule to start from: it passes ``placet policy check`` and ``test`` as it is, and says what to change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from placet.errors import InputError
from placet.policy.authoring.names import is_taken
from placet.policy.bundle import shipped_bundle

_ID: Final = re.compile(r"(?P<category>[a-z][a-z0-9_]*)\.(?P<name>[a-z][a-z0-9_]*)")
_OURS: Final = frozenset({"change", "fixtures", "main", "passes", "report", "severity", "shown"})
_RULE: Final = """\
# METADATA
# title: Nothing runs in the namespace default
# description: >-
#   Say here why the rule exists. What the scaffold asks, that a workload has a namespace of its own, is there to be
#   replaced.
# custom:
#   severity: medium
#   solution: Say here what the reader of a refusal does next.
#   controls:
#     - NIST SP 800-53 CM-3
package admission.rules.{category}.{name}

import data.admission.lib.change

severity := rego.metadata.chain()[1].annotations.custom.severity

# True only when all that the rule stands for is shown: what is undefined refuses.
passes if {{
	change.judged_anew
	shown
}}

passes if change.carried_forward

shown if {{
	is_string(input.workload.namespace)
	not input.workload.namespace in {{"", "default"}}
}}

# Why not: a code and fields, never a sentence.
report contains {{"code": "namespace_shared"}} if not shown
"""
_TEST: Final = """\
package tests.{category}.{name}_test

import data.admission.main
import data.admission.rules.{category}.{name}
import data.tests.fixtures

test_passes_in_a_namespace_of_its_own if {{
	{name}.passes with input as fixtures.request with data.placet as fixtures.placet
	count({name}.report) == 0 with input as fixtures.request with data.placet as fixtures.placet
}}

test_passes_when_nothing_governed_changes if {{
	{name}.passes with input as fixtures.unchanged with data.placet as fixtures.placet
}}

test_fails_in_the_namespace_default_and_says_why if {{
	every namespace in ["default", "", null, 7] {{
		request := fixtures.changed({{"workload": {{"namespace": namespace}}}})
		not {name}.passes with input as request with data.placet as fixtures.placet
		{name}.report == {{{{"code": "namespace_shared"}}}} with input as request
			with data.placet as fixtures.placet
	}}
}}

test_fails_with_its_severity_in_the_decision if {{
	request := fixtures.changed({{"workload": {{"namespace": "default"}}}})
	decision := main.decision with input as request with data.placet as fixtures.placet
	not decision.allowed
	[found.severity | some found in decision.violations; found.rule == "{category}.{name}"] == ["medium"]
}}

test_fails_for_a_change_of_an_unknown_kind if {{
	request := fixtures.changed({{"change": {{"kind": "other"}}}})
	not {name}.passes with input as request with data.placet as fixtures.placet
}}
"""


def write_rule(root: Path, rule: str) -> tuple[Path, ...]:
    """Write a rule and its tests into a folder of policies, and nothing over what is there.

    Args:
        root: a whole tree, or an overlay; made where it is not there.
        rule: ``category.name``.

    Returns:
        the files that were written.

    Raises:
        InputError: ``rule_name_invalid``; ``rule_exists``; ``policies_unwritable``.
    """
    found = _ID.fullmatch(rule)
    taken = [part for part in rule.split(".") if is_taken(part) or part in _OURS]
    if found is not None and taken:
        raise InputError(
            f"{rule!r} can't be the name of a rule: {taken[0]} is a word of Rego's or of the scaffold's own",
            code="rule_name_invalid",
            hint="Take another word: what uses this one would not compile.",
        )
    if found is None:
        raise InputError(
            f"{rule!r} can't be the name of a rule",
            code="rule_name_invalid",
            hint="CATEGORY.RULE, of small letters, digits and _, each beginning with a letter.",
        )
    whole = (root / "admission" / "main" / "main.rego").is_file()
    if not whole and found["category"] in {one.id.partition(".")[0] for one in shipped_bundle().rules}:
        raise InputError(
            f"placet's own rules are in {found['category']}", code="rule_exists", hint="Take a category of your own."
        )
    folder = root / ("admission/rules" if whole or (root / "admission").is_dir() else "rules") / rule.replace(".", "/")
    parts = found.groupdict()
    files = {
        folder / f"{parts['name']}.rego": _RULE.format(**parts),
        folder / f"{parts['name']}_test.rego": _TEST.format(**parts),
    }
    try:
        folder.mkdir(parents=True)
    except FileExistsError as exc:
        raise InputError(f"{folder} is there already", code="rule_exists", hint="Nothing was written.") from exc
    except OSError as exc:
        raise _unwritable(folder, exc) from exc
    for path, text in files.items():
        try:
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except OSError as exc:
            raise _unwritable(path, exc) from exc
    return tuple(files)


def _unwritable(path: Path, exc: OSError) -> InputError:
    return InputError(f"{path} can't be written: {exc.strerror or exc}", code="policies_unwritable")
