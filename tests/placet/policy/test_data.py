from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.canonical import Digest, render_canonical
from placet.errors import EngineError
from placet.model import BINDINGS, LEVELS, ROLES
from placet.policy.bundle import SHIPPED, load_bundle, shipped_bundle
from placet.policy.data import MAX_BYTES, load_policy_data, merge_policy_data, parse_yaml
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


def window(
    *,
    environments: str = "[production]",
    days: str = "[monday]",
    start: str = "09:00",
    end: str = "17:00",
    timezone: str = "UTC",
) -> str:
    body = f"environments: {environments}, days: {days}, from: '{start}', to: '{end}', timezone: {timezone}"
    return f"change: {{windows: {{w: {{{body}}}}}}}"


def freeze(start: str, end: str) -> str:
    body = f"environments: [production], from: '{start}', to: '{end}', timezone: UTC"
    return f"change: {{freezes: {{f: {{{body}}}}}}}"


SENSELESS = [
    ("environments: {production: {requires: [slo.declare]}}",
     "there is no rule 'slo.declare'; did you mean 'slo.declared'?"),
    ("environments: {production: {requires: [risk.ceiling]}}", "'risk.ceiling' is in force in every environment"),
    ("environments: {production: {requires: [SLO]}}", '"SLO" does not match'),
    ("environments: {production: {promotes_from: stagin}}",
     "there is no environment 'stagin'; did you mean 'staging'?"),
    ("environments: {production: {promotes_from: production}}", "goes in a circle: production from production"),
    ("environments: {development: {promotes_from: production}}", "goes in a circle"),
    ("environments: {development: {requires: [promotion.staged]}}", "promotion.staged needs promotes_from beside it"),
    ("environments: {production: {requires: [change.window]}}", "no window of change.windows is for 'production'"),
    ("environments: {production: {requires: [rollback.authority]}}\nrollback: {groups: []}", "names nobody who may"),
    ("environments: {production: {requires: [privacy.residency]}}", "residency.clusters names no cluster's region"),
    ("limits: {environments: {prodution: {replicas: 3}}}",
     "there is no environment 'prodution'; did you mean 'production'?"),
    ("limits: {default: {replica: 3}}", "the key 'replica' is not known here; did you mean 'replicas'?"),
    ("limits: {models: {llama: {latency_p95_ms: 0}}}", "0 is less than the minimum of 1"),
    ("limits: {default: {accuracy_permille: 0}}", "0 is less than the minimum of 1"),
    ("limits: {default: {accuracy_permille: 1001}}", "1001 is greater than the maximum of 1000"),
    ("limits: {default: {critical_vulnerabilities: -1}}", "-1 is less than the minimum of 0"),
    ("limits: {default: {soak_hours: '24'}}", '"24" is not of type'),
    ("rollback: {groups: ['system:authenticated']}", "everybody would be meant"),
    ("documents: {required: []}", "must not be empty"),
    ("licences: {allowed: []}", "must not be empty"),
    ("classifications: {secret: {dpia: true}}", "the key 'secret' is not known here"),
    ("change: {ticket: {digit: 7}}", "did you mean 'digits'?"),
    (window(environments="[prodction]"), "there is no environment 'prodction'; did you mean 'production'?"),
    (window(start="17:00", end="09:00"), "to: is not after from on the same day"),
    (window(days="[mon]"), '"mon" is not one of "monday"'),
    (
        "environments: {production: {approvals: [tehnical]}}",
        '"tehnical" is not one of "technical", "security", "business", "executive"',
    ),
    (window(start="9"), '"9" does not match'),
    (window(timezone="Mars/Base"), "the time zone database has no 'Mars/Base'"),
    (freeze("2026-02-30T00:00", "2026-03-02T00:00"), "from: is not a date and a time"),
    (freeze("2026-03-02T00:00", "2026-03-02T00:00"), "to: is not after from"),
]  # fmt: skip


_LAX = '{"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {"operator": {}}}'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rules", "{}"),
        ("rules", "rules: 7"),
        ("environments", "environments: []"),
        ("environments", "environments: {production: {mode: enforce}}"),
        ("evidence", "evidence: {scan: 3}"),
        ("namespaces", "namespaces: 3"),
    ],
)
def test_a_bundle_whose_own_schema_asks_for_nothing_is_held_to_what_is_read(
    tmp_path: Path, name: str, content: str
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(SHIPPED, folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for file, text in {"schemas/data.json": _LAX, f"defaults/{name}.yaml": content}.items():
        (folder / file).write_text(text, "utf-8")
        manifest["files"][file] = str(Digest.of(text.encode()))
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(EngineError, match="are not what this release of placet reads") as caught:
        load_policy_data(None, load_bundle(folder))
    assert caught.value.code == "bundle_invalid"


@pytest.mark.parametrize(("text", "sentence"), SENSELESS)
def test_what_can_not_be_meant_is_refused_with_file_and_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path, f"# first line\n{text}\n")
    with pytest.raises(EngineError, match=re.escape(sentence)) as caught:
        load_policy_data(path)
    assert re.match(rf"{re.escape(str(path))}:[23]: ", str(caught.value))


def test_an_upgrade_requires_nothing_more_of_anybody(tmp_path: Path) -> None:
    """Neither where nothing is said, nor in an environment of the operator's own that was written before."""
    path = write(
        tmp_path,
        "environments: {lab: {approvals: [technical], max_level: low, bindings: [projection], pin_images: false, "
        "mode: enforce, coverage: strict, accept_declared: true}}\n",
    )
    assert {tuple(each["requires"]) for each in load_policy_data(path).value["environments"].values()} == {()}
    assert "lab" in load_policy_data(path).value["environments"]


def test_the_profile_asks_production_for_every_rule_and_each_environment_for_no_more_than_the_next() -> None:
    value = load_policy_data(SHIPPED / "profiles" / "governance.yaml").value
    asked = {name: set(each["requires"]) for name, each in value["environments"].items()}
    assert asked["production"] == {rule.id for rule in shipped_bundle().rules if rule.optional}
    assert asked["development"] < asked["staging"] < asked["production"]
    assert set(APPROVALS_BY_ENVIRONMENT) == set(asked)


@pytest.mark.parametrize(
    ("raw", "line", "fault"),
    [
        (b"limits:\n  default: {latency_p95_ms: 1e309}\n", 2, "a value of type float"),
        (b"limits:\n  default:\n    accuracy_permille: .nan\n", 3, "a value of type float"),
        (b"limits:\n  default:\n    latency_p95_ms: 2026-01-01\n", 3, "a value of type date"),
        (b"limits:\n  default: {latency_p95_ms: 9007199254740992}\n", 2, "an integer beyond"),
        (b"limits:\n  default: {latency_p95_ms: 0" + b"9" * 5000 + b"}\n", 2, "4300 digits"),
        (b"limits: {}\nenvironments:\n  true: {max_level: low}\n", 3, "an object key that is not text"),
        (b"limits:\n  default:\n    ? [a, b]\n    : 3\n", 3, "an object key that is not text"),
        (b"risk_approvals:\n  high: !!set {technical}\n", 2, "a value of type set"),
        (b"risk_approvals:\n  high: &a [technical]\n  critical: *a\n", 3, "uses a YAML alias"),
        (b"risk_approvals:\n  high:\n    " + b"[" * 100, 3, "is nested deeper than 64"),
        (b"risk_approvals:\n  high: " + b"[" * 9000, 2, "is nested deeper than 64"),
        (b"risk_approvals:\n  high:\n    " + b"[\n" * 9000, 65, "is nested deeper than 64"),
        (b"risk_approvals:\n  high: [technical]  # caf\xe9\n", 2, "is not UTF-8"),
        (b"risk_approvals:\n  high: [technical]\n\0", 3, "unacceptable character"),
    ],
)
def test_what_is_no_plain_data_is_refused_with_its_line(raw: bytes, line: int, fault: str) -> None:
    with pytest.raises(EngineError) as caught:
        merge_policy_data(raw, name="data.yaml")
    assert caught.value.code == "policy_data_invalid"
    assert str(caught.value).startswith(f"data.yaml:{line}: ")
    assert fault in str(caught.value)


@given(st.binary(max_size=60) | st.text(":-[]{}!&*?|>'\"# \n\t0123456789.ea~", max_size=60).map(str.encode))
def test_whatever_is_wrong_is_told_with_a_line(raw: bytes) -> None:
    try:
        parse_yaml(raw, name="data.yaml")
    except EngineError as error:
        assert re.match(r"data\.yaml:[1-9]\d*: ", str(error))
        assert int(str(error).split(":")[1]) <= raw.count(b"\n") + raw.count(b"\r") + 2
