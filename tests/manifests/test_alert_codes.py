"""The alert on refusals of the gate's own counts what teams can't mend: its list of codes is that of the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from placet.audit.stores import failure
from placet.policy.failures import FAILURES
from tests.manifests.charts import ROOT, SETS, one, template

# Where an object and where it comes from are read: each code of theirs is either the team's or named here.
READERS = (
    *(
        "children",
        "controllers",
        "decide",
        "environments",
        "exemptions/verify",
        "images",
        "lineage",
        "namespaces",
        "origin",
        "parents",
        "scaling",
        "subject",
        "workload",
    ),
    "projection/*",
)
PLATFORMS = {
    "environment_unknown": "the webhook configuration has another path than the policy data has environments",
    "operation_unsupported": "the webhook configuration asks for too much",
    "subresource_unsupported": "the webhook configuration asks for too much",
    "object_missing": "no API server sends this",
    "kind_differs": "no API server sends this",
    "name_differs": "no API server sends this",
    "namespace_mismatch": "no API server sends this",
    "namespace_missing": "no API server sends this",
    "scale_malformed": "no API server sends this",
    "scale_differs": "no API server sends this",
    "parents_not_looked_up": "a setting of the gate",
    "parent_unavailable": "the API server does not answer",
    "parent_unknown": "is turned into content_differs",
    "internal_error": "a fault of the gate",
    "namespace_malformed": "no API server sends this",
    "not_a_namespace": "the webhook configuration asks for too much",
    "namespace_not_looked_up": "a setting of the gate",
    "environment_disagrees": "a path of the webhook configuration is wrong, or a namespace was just moved",
    "namespace_unavailable": "the API server does not answer",
    "namespace_not_found": "the namespace went away meanwhile, or no API server sends this",
    "kind_invalid": "is turned into policy_data_invalid",
    "path_invalid": "is turned into policy_data_invalid",
    "exemption_key": "whoever exempts signs again",
    "exemption_not_granted": "whoever exempts has no grant for it",
    "exemption_too_long": "whoever exempts signs again",
    "refused": "a default that no code of ours uses",
    "scale_refused": "a default that no code of ours uses",
}
# What goes wrong in the gate, or around it, whoever asks.
PLATFORM_ERRORS = re.compile(r"(Engine|Keyring|SigningKey|Audit|Store|Tamper|Parent|Cluster|Deadline|Placet)\w*")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """Codes that the alert leaves out."""
    rules = one(template(SETS["everything"], tmp_path_factory.mktemp("chart")), "PrometheusRule")["spec"]["groups"]
    (expression,) = (rule["expr"] for rule in rules[0]["rules"] if rule["alert"] == "PlacetRefusesForItself")
    found = re.fullmatch(
        r'sum by \(code\) \(increase\(placet_gate_denials_total\{code!~"([a-z_|]+)", job="[^"]+", namespace="[^"]+"\}'
        r"\[5m\]\)\) > 0",
        expression,
    )
    assert found is not None, expression
    codes = found[1].split("|")
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", code) for code in codes), "an empty alternative would match everything"
    return frozenset(codes)


def codes_in(file: Path) -> Iterator[tuple[str, str]]:
    """What is raised or told in a module, with its code; ``*`` stands for what is only known when it runs."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code":
                    yield node.name, ast.literal_eval(line.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            given = [word.value for word in node.keywords if word.arg == "code"]
            if node.func.id in {"Astray", "Stray", "Unfit", "_violation"}:
                given += node.args[:1]
            elif node.func.id == "MistypedError":
                given += node.args[1:] or [ast.Constant("field_mistyped")]
            for value in given:
                if isinstance(value, ast.Constant):
                    yield node.func.id, str(value.value)
                elif isinstance(value, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "*" for part in value.values]
                    yield node.func.id, "".join(map(str, parts))


def read_codes() -> dict[str, str]:
    """Codes of the modules that read objects -> what is raised with them."""
    files = [file for name in READERS for file in sorted((ROOT / "placet").glob(f"{name}.py"))]
    assert len(files) > len(READERS)
    return {code: raised for file in files for raised, code in codes_in(file) if not code.startswith("<")}


def expanded(codes: dict[str, str]) -> set[str]:
    """With ``*_conflict`` as what it stands for."""
    made = {"*_conflict": {"label_conflict", "annotation_conflict"}}
    unknown = {code for code in codes if "*" in code} - made.keys()
    assert not unknown, "say which codes these are"
    return set().union(*(made.get(code, {code}) for code in codes))


def test_every_code_of_an_object_is_the_teams_or_the_platforms(theirs: frozenset[str]) -> None:
    found = expanded(read_codes())
    assert not theirs & PLATFORMS.keys()
    assert found - theirs - PLATFORMS.keys() == set(), "new codes: whose affair are they?"
    assert theirs - found == set(), "codes that the source has no more"
    assert PLATFORMS.keys() - found == set(), "codes that the source has no more"


def test_no_code_of_the_platform_is_left_out_of_the_alert(theirs: frozenset[str]) -> None:
    files = [file for file in sorted((ROOT / "placet").rglob("*.py")) if "cli" not in file.parts]
    platforms = {code for file in files for raised, code in codes_in(file) if PLATFORM_ERRORS.match(raised)}
    platforms |= FAILURES.keys() | failure._SENTENCES.keys()
    assert {
        "deadline_exceeded", "engine_timeout", "internal_error", "keyring_expired", "parent_unavailable",
        "record_too_large", "revocations_unreadable", "store_full", "uid_reused",
    } <= platforms  # fmt: skip
    assert theirs & platforms == set()


def test_the_guide_lists_the_same_codes(theirs: frozenset[str]) -> None:
    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = guide.split("### Refusals that teams mend\n")[1].split("\n## ")[0]
    assert set(re.findall(r"`([a-z_]+)`", section)) == theirs
