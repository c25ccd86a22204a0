"""Whether every request reaches the gate: nothing is said of the chart's entries, and each way to break them is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.doctor.coverage import Coverage, check_coverage
from placet.doctor.entries import NAME_LABEL, Asked, Entry, find_entries, selects
from placet.doctor.findings import Code
from placet.doctor.guard import CONDITION
from tests.placet.doctor.samples import ASKED, ENVIRONMENTS, NAMESPACES, configuration, guard, namespace

Change = Callable[[list[Any]], object]
ROOT = Path(__file__).parents[3]
LABEL = "placet.dev/environment"


def examine(
    change: Change = lambda _: None, asked: Any = ASKED, environments: Any = ENVIRONMENTS, more: Any = ()
) -> set[str]:
    value = copy.deepcopy(configuration())
    change(value["webhooks"])
    seen = Coverage(
        list(find_entries([value])), [*NAMESPACES, *more], {"placet-system"}, asked, environments, default="production"
    )
    return {str(one.code) for one in check_coverage(seen)}


def test_nothing_is_said_of_what_the_chart_installs() -> None:
    assert examine() == set()


def put(index: int, **values: Any) -> Change:
    return lambda webhooks: webhooks[index].update(values)


def requirement(key: str, operator: str, *values: str) -> Change:
    def change(webhooks: list[Any]) -> None:
        for one in webhooks[:-1]:
            one["namespaceSelector"]["matchExpressions"].append({"key": key, "operator": operator, "values": values})

    return change


def rules(index: int, **values: Any) -> Change:
    return lambda webhooks: webhooks[0]["rules"][index].update(values)


def path(index: int, text: str) -> Change:
    return lambda webhooks: webhooks[index]["clientConfig"]["service"].update(path=text)


def guarding(**values: Any) -> Change:
    return lambda webhooks: webhooks[-1].update(values)


def writes(**values: Any) -> Change:
    return lambda webhooks: webhooks[-1]["rules"][0].update(values)


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (put(0, failurePolicy="Ignore"), {"fails_open"}),
        (put(0, matchPolicy="Exact"), {"matches_exactly"}),
        (put(0, timeoutSeconds=1), {"timeout_odd"}),
        (put(0, timeoutSeconds=30), {"timeout_odd"}),
        (put(0, sideEffects="None"), {"side_effects_odd"}),
        (put(0, objectSelector={"matchLabels": {"governed": "yes"}}), {"object_selector"}),
        (put(0, matchConditions=[{"name": "x", "expression": "true"}]), {"match_condition"}),
        (rules(0, resources=["pods"]), {"rules_missing"}),
        (rules(0, resources=["*"]), {"rules_missing"}),
        (rules(0, resources=["*/*"]), set()),
        (rules(0, resources=["pods/*"]), set()),
        (rules(0, operations=["CREATE"]), {"rules_missing"}),
        (rules(0, operations=["*"]), set()),
        (rules(0, scope="Cluster"), {"rules_missing"}),
        (rules(0, scope="*"), set()),
        (rules(1, apiGroups=["*"]), set()),
        (rules(1, apiGroups=["extensions"]), {"rules_missing"}),
        (rules(1, apiVersions=["v1beta1"]), {"rules_missing"}),
        (path(0, "/v1/admit/development/secretsecret"), set()),
        (path(0, "/v1/review"), {"path_unknown", "namespace_uncovered", "selector_gap", "environment_without_entry"}),
        (path(0, "/v1/admit/x"), {"environment_unknown", "environment_without_entry", "environment_differs"}),
        (put(0, clientConfig={"url": "https://x:1/v1/admit/development"}), {"servers_differ"}),
        (path(2, "/v1/admit/development"), {"environment_differs"}),
        (path(1, "/v1/admit/development"), {"environment_differs"}),
        (lambda webhooks: webhooks.pop(-2), {"namespace_uncovered", "selector_gap"}),
        (lambda webhooks: webhooks.pop(0), {"namespace_uncovered", "selector_gap", "environment_without_entry"}),
        (requirement(NAME_LABEL, "NotIn", "ml"), {"namespace_uncovered"}),
        (requirement("skip", "DoesNotExist"), {"selector_opt_out"}),
        (requirement("skip", "NotIn", "yes"), {"selector_opt_out"}),
        (requirement("gate", "In", "on"), {"namespace_uncovered", "selector_gap"}),
        (put(2, namespaceSelector={}), {"namespace_twice", "selector_overlap", "environment_differs"}),
        (lambda webhooks: webhooks.pop(), {"guard_missing"}),
        (guarding(failurePolicy="Ignore"), {"fails_open"}),
        (guarding(namespaceSelector={"matchLabels": {"guarded": "yes"}}), {"selector_opt_out"}),
        (guarding(matchConditions=[]), set()),
        (guarding(matchConditions=[{"name": "label", "expression": "false"}]), {"match_condition"}),
        (writes(resources=["namespaces"]), {"guard_incomplete"}),
        (writes(operations=["UPDATE"]), {"guard_incomplete"}),
        (writes(scope="Namespaced"), {"guard_incomplete"}),
        (writes(scope="*"), set()),
    ],
)
def test_each_fault_has_its_code(change: Change, codes: set[str]) -> None:
    assert examine(change) == codes


def test_a_namespace_that_is_meant_to_be_left_out_is_named_and_no_other_is() -> None:
    value = configuration()
    requirement(NAME_LABEL, "NotIn", "ml", "monitoring")(value["webhooks"])

    def holes(*excluded: str) -> list[str]:
        seen = Coverage(
            list(find_entries([value])), NAMESPACES, {"placet-system"}, ASKED, ENVIRONMENTS, excluded=excluded
        )
        return [one.sentence for one in check_coverage(seen)]

    uncovered = "no entry selects it; its environment label is production"
    gap = "no entry would select a namespace of the name monitoring"
    assert holes() == [uncovered, gap]
    assert holes("ml") == [gap]
    assert holes("ml", "monitoring") == []


def test_the_condition_of_the_guard_is_that_of_the_chart() -> None:
    text = (ROOT / "manifests" / "chart" / "placet" / "templates" / "_webhook.tpl").read_text(encoding="utf-8")
    assert CONDITION in " ".join(text.split())


def test_no_configuration_at_all() -> None:
    seen = Coverage([], NAMESPACES, set(), ASKED)
    assert [one.code for one in check_coverage(seen)] == [Code.NO_CONFIGURATION]


def test_a_configuration_of_ours_without_an_entry_that_admits() -> None:
    assert examine(lambda webhooks: webhooks.__setitem__(slice(None), [guard()])) == {"no_entry"}


def test_other_configurations_are_not_ours() -> None:
    other = {"metadata": {"name": "other"}, "webhooks": [{"name": "x", "clientConfig": {"url": "https://x/validate"}}]}
    assert list(find_entries([other])) == []


def test_an_entry_with_an_address_of_its_own_is_ours() -> None:
    client = {"url": "https://gate.example.com:8443/v1/admit/production?x=y"}
    (entry,) = find_entries([{"metadata": {"name": "mine"}, "webhooks": [{"name": "x", "clientConfig": client}]}])
    assert (entry.environment, entry.service) == ("production", None)


def test_a_served_version_that_no_rule_names_matters_where_versions_are_matched_exactly() -> None:
    asked = {**ASKED, Asked("apps", "deployments", "", "CREATE"): ["v1", "v2"]}
    assert examine(asked=asked) == set()
    assert examine(put(0, matchPolicy="Exact"), asked=asked) == {"matches_exactly", "version_unmatched"}


def test_an_environment_of_the_policy_data_without_an_entry() -> None:
    assert examine(environments=(*ENVIRONMENTS, "staging")) == {"environment_without_entry"}
    assert examine(environments=None) == set()


def test_two_entries_that_share_no_request_are_no_overlap() -> None:
    def split(webhooks: list[Any]) -> None:
        webhooks.append(copy.deepcopy(webhooks[0]))
        webhooks[0]["rules"].pop()
        webhooks[-1]["rules"].pop(0)

    assert examine(split) == set()


def test_a_label_with_a_typo_is_covered_and_one_namespace_more_or_less_is_told() -> None:
    assert examine(more=[namespace("typo", **{LABEL: "prodction"})]) == set()
    unlabelled = lambda webhooks: webhooks[2]["namespaceSelector"]["matchExpressions"].append(  # noqa: E731
        {"key": LABEL, "operator": "Exists"}
    )
    assert examine(unlabelled) == {"namespace_uncovered", "selector_gap"}


def test_more_labels_than_can_be_tried_are_not_called_fine() -> None:
    def many(webhooks: list[Any]) -> None:
        for number in range(9):
            requirement(f"label-{number}", "NotIn", "a", "b")(webhooks)

    assert "not_read" in examine(many)


VALUES = st.sampled_from(["a", "b", "c"])
REQUIREMENTS = st.builds(
    lambda key, operator, values: {"key": key, "operator": operator, "values": values},
    VALUES,
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.lists(VALUES, min_size=1),
)


@given(st.lists(REQUIREMENTS, max_size=3), st.dictionaries(VALUES, VALUES))
def test_a_selector_and_its_opposite_never_both_match(requirements: list[Any], labels: dict[str, str]) -> None:
    opposite = {"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}
    for one in requirements:
        other = {**one, "operator": opposite[one["operator"]]}
        both = [selects({"matchExpressions": [each]}, labels) for each in (one, other)]
        assert sorted(both) == [False, True]
    assert selects({"matchExpressions": requirements}, labels) == all(
        selects({"matchExpressions": [one]}, labels) for one in requirements
    )


def test_an_operator_that_is_not_known_selects_nothing() -> None:
    assert not selects({"matchExpressions": [{"key": "a", "operator": "Like", "values": ["a"]}]}, {"a": "a"})


def test_rules_are_matched_in_the_version_asked_or_one_that_is_equivalent() -> None:
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    asked = Asked("apps", "deployments", "", "CREATE")
    equivalent, exact = ({"rules": [rule], "matchPolicy": one} for one in ("Equivalent", "Exact"))
    assert Entry("", "", equivalent).matches(asked, "v2", ["v1", "v2"])
    assert not Entry("", "", equivalent).matches(asked, "v2", ["v2"])
    assert not Entry("", "", exact).matches(asked, "v2", ["v1", "v2"])
