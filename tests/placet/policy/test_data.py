from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.canonical import Digest, render_canonical
from placet.errors import EngineError
from placet.model import BINDINGS, LEVELS, ROLES
from placet.policy.data import MAX_BYTES, load_policy_data, parse_yaml
from scorer import APPROVALS_BY_ENVIRONMENT, APPROVALS_BY_LEVEL


def write(folder: Path, text: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(text, "utf-8")
    return path


def test_the_defaults_are_the_published_matrix() -> None:
    value = load_policy_data(None).value
    assert {name: tuple(each["approvals"]) for name, each in value["environments"].items()} == dict(
        APPROVALS_BY_ENVIRONMENT
    )
    assert {level: tuple(roles) for level, roles in value["risk_approvals"].items()} == dict(APPROVALS_BY_LEVEL)
    assert (tuple(value["roles"]), tuple(value["levels"])) == (ROLES, LEVELS)
    assert tuple(value["environments"]["production"]["bindings"]) == BINDINGS
    assert [name for name, each in value["environments"].items() if each["accept_declared"]] == ["development"]
    assert {each["mode"] for each in value["environments"].values()} == {"enforce"}


def test_the_digest_is_of_the_canonical_value_and_is_stamped_beside_it() -> None:
    data = load_policy_data(None)
    assert data.digest == Digest.of(render_canonical(data.value))
    stamped = data.stamped(expected_rules=8)
    judged = {key: value for key, value in data.value.items() if key != "detection"}
    assert stamped == {**judged, "digest": str(data.digest), "expected_rules": 8}


def test_an_operator_file_is_merged_by_key_and_replaces_lists(tmp_path: Path) -> None:
    path = write(tmp_path, "environments: {production: {approvals: [security]}}\nrules: {risk.ceiling: {mode: warn}}\n")
    value = load_policy_data(path).value
    assert value["environments"]["production"]["approvals"] == ["security"]
    assert value["environments"]["production"]["pin_images"] is True
    assert value["environments"]["staging"] == load_policy_data(None).value["environments"]["staging"]
    assert value["rules"] == {"risk.ceiling": {"mode": "warn"}}
    assert load_policy_data(path).digest != load_policy_data(None).digest


def test_entries_of_detection_are_merged_and_no_engine_gets_them(tmp_path: Path) -> None:
    data = load_policy_data(write(tmp_path, "detection: {images: {acme-brain: server, ollama: off}}\n"))
    images = data.value["detection"]["images"]
    assert (images["acme-brain"], images["ollama"], images["vllm"]) == ("server", "off", "server")
    assert data.digest != load_policy_data(None).digest
    assert "detection" not in data.stamped(expected_rules=1)
    assert data.stamped(expected_rules=1)["digest"] == str(data.digest)


def test_the_same_data_written_otherwise_has_the_same_digest(tmp_path: Path) -> None:
    first = load_policy_data(write(tmp_path, "rules: {risk.ceiling: {mode: warn}}"))
    second = load_policy_data(write(tmp_path, "# a remark\nrules:\n  risk.ceiling:\n    mode: 'warn'\n"))
    assert first == second


def test_a_new_environment_that_says_everything_is_taken(tmp_path: Path) -> None:
    text = """
environments:
  lab:
    {approvals: [technical], max_level: low, bindings: [projection], pin_images: false, mode: audit, coverage: labelled,
     accept_declared: true}
"""
    assert load_policy_data(write(tmp_path, text)).value["environments"]["lab"]["max_level"] == "low"


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_policy_data(write(tmp_path, "# nothing\n")) == load_policy_data(None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "environments: {production: {pin_image: true}}",
            "environments.production: the key 'pin_image' is not known here; did you mean 'pin_images'?",
        ),
        ("environment: {}", "the key 'environment' is not known here; did you mean 'environments'?"),
        ("risk: {weights: {}}", "the key 'risk' is not known here"),
        ("roles: [technical]", "the key 'roles' is not known here"),
        (
            "rules: {approvals.require: {mode: warn}}",
            "rules: there is no rule 'approvals.require'; did you mean 'approvals.required'?",
        ),
        (
            "rules: {risk.ceiling: {mod: warn}}",
            "rules.risk.ceiling: the key 'mod' is not known here; did you mean 'mode'?",
        ),
        ("rules: {risk.ceiling: {}}", "rules.risk.ceiling: the key 'mode' is missing"),
        ("environments: {lab: {mode: warn}}", "environments.lab: the key 'approvals' is missing"),
        ("risk_approvals: {low: []}", "risk_approvals.low: must not be empty"),
        (
            "risk_approvals: {extreme: [technical]}",
            "risk_approvals: the key 'extreme' is not known here; known are critical, high, low, medium",
        ),
        ("environments: {production: {mode: off}}", "environments.production.mode: "),
        ("environments: {production: {approvals: [astrologer]}}", "environments.production.approvals.0: "),
        ("environments: {production: {bindings: []}}", "environments.production.bindings: must not be empty"),
        ("environments: {production: {approvals: [security, security]}}", "environments.production.approvals: "),
        ("environments: {production: {pin_images: 'yes'}}", "environments.production.pin_images: "),
        ("environments: {Production!: {mode: warn}}", "environments: "),
        ("environments: {production: {coverage: detected}}", "environments.production.coverage: "),
        ("environments: {production: {suspected: deny}}", "environments.production.suspected: "),
        (
            "detection: {image: {a-b: server}}",
            "detection: the key 'image' is not known here; did you mean 'images'?",
        ),
        ("detection: {images: {acme: serves}}", "detection.images.acme: "),
        ("detection: {images: {ACME: server}}", "detection.images: "),
        ("detection: {images: {acme*: server}}", "detection.images: "),
        ("detection: {commands: {'a*': server}}", "detection.commands: "),
        ("detection: {commands: {'vllm *serve': server}}", "detection.commands: "),
        ("detection: {environment: {'*': model}}", "detection.environment: "),
        ("detection: {mounts: {models: model}}", "detection.mounts: "),
        ("detection: {kinds: {acme.example/brain: serves}}", "detection.kinds: "),
        ("detection: {kinds: {acme.example/Brain: 'has:'}}", "detection.kinds.acme.example/Brain: "),
        ("environments: null", "environments: "),
        ("- 1", "policy.yaml:1: "),
        ("a: &x 1\nb: *x", "uses a YAML alias"),
        ("[" * MAX_BYTES, "is nested deeper than 64"),
        ("x: " + "{a: " * 64 + "1" + "}" * 64, "is nested deeper than 64"),
        ("a: 1\na: 2", "found duplicate key"),
        ("x: 2001-01-01", "holds something that is not plain data"),
        ("x: 1.5", "holds something that is not plain data"),
        ("1: x", "holds something that is not plain data"),
        ("x: !!python/name:os.system", "is not YAML"),
        ("x: [", "is not YAML"),
        ("x: 1\n---\ny: 2", "is not YAML"),
        ("#" * (MAX_BYTES + 1), "more than the 262144 allowed"),
    ],
)  # fmt: skip
def test_a_fault_is_refused_with_the_file_the_place_and_what_to_do(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(EngineError) as caught:
        load_policy_data(path)
    assert caught.value.code == "policy_data_invalid"
    assert str(path) in str(caught.value)
    assert sentence in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# a\nenvironments:\n  production:\n    aprovals: [security]\n", 4),
        ("# a\nenvironments:\n  lab:\n    mode: warn\n", 3),
        ("# a\n\nrules:\n  risk.ceilin: {mode: warn}\n", 4),
        ("# a\nx: [\n", 3),
        ("a: 1\nb: 1\na: 2\n", 3),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = write(tmp_path, text)
    with pytest.raises(EngineError) as caught:
        load_policy_data(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"none\.yaml: can't be read: No such file") as caught:
        load_policy_data(tmp_path / "none.yaml")
    assert caught.value.code == "policy_data_invalid"


@given(st.binary(max_size=60) | st.text(alphabet="a: {}[]&*!'\"\\|>-\n0.,#%?@é", max_size=40).map(str.encode))
def test_no_other_error_escapes(raw: bytes) -> None:
    try:
        render_canonical(parse_yaml(raw, name="policy.yaml"))
    except EngineError as exc:
        assert exc.code == "policy_data_invalid"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("namespaces: {labellers: {groups: ['system:authenticated']}}", "everybody would be meant"),
        ("namespaces: {labellers: {groups: ['system:serviceaccounts']}}", "everybody would be meant"),
        ("namespaces: {labellers: {users: ['system:anonymous']}}", "everybody would be meant"),
        ("namespaces: {labellers: {users: ['']}}", "labellers.users.0"),
        ("namespaces: {labellers: {user: []}}", "did you mean 'users'?"),
        ("namespaces: {moves: refuse}", "did you mean 'move'?"),
        ("namespaces: {mode: 'off'}", "namespaces.mode"),
        (
            "namespaces: {default_environment: moon}",
            ":1: namespaces.default_environment: there is no environment 'moon'",
        ),
        ("namespaces: {default_environment: ''}", "namespaces.default_environment"),
        ("namespaces: {default_environment: null}", "namespaces.default_environment"),
    ],
)
def test_a_guard_of_namespaces_that_would_be_none_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(EngineError, match=re.escape(fault)) as caught:
        load_policy_data(write(tmp_path, text))
    assert caught.value.code == "policy_data_invalid"


def test_labellers_are_replaced_list_by_list(tmp_path: Path) -> None:
    value = load_policy_data(write(tmp_path, "namespaces: {labellers: {users: [argo]}}")).value["namespaces"]
    labellers = {"users": ["argo"], "groups": ["system:masters"]}
    assert value == {"mode": "enforce", "labellers": labellers, "move": "warn", "default_environment": "production"}
