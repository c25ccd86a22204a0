"""New files: built aside, tested, recorded, swapped in; what can't be used leaves everything as it was."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from placet.assemble import load_own_log_key
from placet.audit.checkpoint import verify_checkpoint
from placet.audit.location import open_reader
from placet.audit.note import generate_log_key
from placet.audit.stores.failure import unavailable
from placet.audit.verify import verify_file
from placet.canonical import Digest
from placet.config import load_config
from placet.config_schema import SCHEMA
from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from tests.e2e.gateprocess import Team
from tests.webhook.gaterun import Gate, opened
from webhook import changes, downgrades, watch
from webhook.watch import Watcher

WARN = "environments: {production: {mode: warn}}\n"
REFUSED = "placet_policy_reload_total"


def test_policy_data_take_effect_and_are_recorded_with_the_downgrade_flagged(own_team: Team) -> None:
    with opened(own_team) as gate:
        assert "role_missing" in str(gate.ask())
        gate.policy_data(WARN)
        gate.round()
        assert gate.ask()["allowed"] is True
        first, second = gate.records("configuration")
        assert (first["cause"], first["first"], first["changed"]) == ("start", True, [])
        assert (second["cause"], second["first"]) == ("reload", False)
        assert second["changed"] == ["data.environments.production.mode"]
        assert second["downgrades"] == [{"key": "environments.production.mode", "from": "enforce", "to": "warn"}]
        assert second["data_digest"] != first["data_digest"]
        assert gate.metric(REFUSED, result="applied") == 1
        decisions = gate.records("decision")
        assert [one["policy"]["data_digest"] for one in decisions] == [first["data_digest"], second["data_digest"]]


def test_a_downgrade_across_a_restart_is_recorded_too(own_team: Team) -> None:
    with opened(own_team):
        pass
    (own_team.folder / "policy-data.yaml").write_text(WARN, encoding="utf-8")
    with opened(own_team) as gate:
        newest = gate.records("configuration")[-1]
        assert newest["cause"] == "start"
        assert [one["key"] for one in newest["downgrades"]] == ["environments.production.mode"]
    with opened(own_team) as gate:
        assert len(gate.records("configuration")) == 2


def test_a_rule_that_loses_its_own_mode_for_a_weaker_one_is_a_downgrade(tmp_path: Path) -> None:
    file, environments = tmp_path / "data.yaml", "environments: {production: {mode: warn}}\n"
    file.write_text(f"{environments}rules: {{approvals.revoked: {{mode: enforce}}}}\n", encoding="utf-8")
    before = load_policy_data(file).value
    file.write_text(environments, encoding="utf-8")
    found = [*downgrades.find_downgrades(before, load_policy_data(file).value)]
    assert [(one.key, one.before, one.after) for one in found] == [("rules.approvals.revoked.mode", "enforce", "")]


def test_other_roots_under_the_same_name_are_recorded(own_team: Team) -> None:
    with opened(own_team) as gate:
        (root, *_) = gate.runtime.config.root_files
        (file, *_) = sorted(root.glob("*.pub")) if root.is_dir() else [root]
        file.write_bytes(file.read_bytes() + b"\n")
        gate.round()
        first, second = gate.records("configuration")
        assert second["changed"] == ["keyring.roots"]
        assert len(first["roots"]) == len(second["roots"]) > 0
        assert first["roots"] != second["roots"]


def test_settings_that_let_more_through_are_downgrades(own_team: Team) -> None:
    (own_team.folder / "revoked").mkdir(exist_ok=True)
    own_team.configure({"keyring": {"revocations": "revoked"}, "autoscalers": "unknown"})
    with opened(own_team) as gate:
        file = own_team.folder / "placet.yaml"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        file.write_text("".join(line for line in lines if "revocations:" not in line), encoding="utf-8")
        own_team.configure({"autoscalers": "none"})
        gate.round()
        newest = gate.records("configuration")[-1]
        assert [one["key"] for one in newest["downgrades"]] == ["autoscalers", "keyring.revocations"]


def test_tightening_is_a_change_and_no_downgrade(own_team: Team) -> None:
    (own_team.folder / "policy-data.yaml").write_text(WARN, encoding="utf-8")
    with opened(own_team) as gate:
        gate.policy_data("environments: {}\n")
        gate.round()
        newest = gate.records("configuration")[-1]
        assert newest["changed"] == ["data.environments.production.mode"]
        assert newest["downgrades"] == []


_LESS_DETECTED = ["detection.commands.vllm serve", "detection.companions.vllm"]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("environments: {production: {mode: audit}}", ["environments.production.mode"]),
        ("environments: {production: {coverage: labelled}}", ["environments.production.coverage"]),
        ("environments: {production: {coverage: detect}}", ["environments.production.coverage"]),
        ("environments: {staging: {coverage: detect}}", []),
        ("detection: {images: {vllm: hint, acme: server}}", ["detection.images.vllm"]),
        ("detection: {companions: {vllm: companion}, commands: {vllm serve: 'off'}}", _LESS_DETECTED),
        ("environments: {production: {accept_declared: true}}", ["environments.production.accept_declared"]),
        ("environments: {production: {pin_images: false}}", ["environments.production.pin_images"]),
        ("environments: {production: {approvals: [technical]}}", ["environments.production.approvals"]),
        ("environments: {production: {bindings: [projection]}}", ["environments.production.bindings"]),
        ("rules: {approvals.separation: {mode: warn}}", ["rules.approvals.separation.mode"]),
        ("environments: {production: {approvals: [technical, security, business, executive]}}", []),
        ("risk_approvals: {critical: [technical], low: [technical, security]}", ["risk_approvals.critical"]),
        ("break_glass: {max_minutes: 241}", ["break_glass.max_minutes"]),
        ("break_glass: {review_hours: 25}", ["break_glass.review_hours"]),
        ("break_glass: {max_minutes: 0, review_hours: 1}", []),
        ("namespaces: {mode: audit}", ["namespaces.mode"]),
        ("namespaces: {move: refuse}", []),
        ("namespaces: {labellers: {users: [argo]}}", ["namespaces.labellers.users"]),
        ("namespaces: {labellers: {groups: [platform]}}", ["namespaces.labellers.groups"]),
        ("namespaces: {labellers: {groups: []}}", []),
        ("namespaces: {default_environment: development}", ["namespaces.default_environment"]),
    ],
)
def test_what_lets_more_through_is_a_downgrade(tmp_path: Path, text: str, keys: list[str]) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(text, encoding="utf-8")
    found = downgrades.find_downgrades(load_policy_data(None).value, load_policy_data(file).value)
    assert [one.key for one in found] == keys


@pytest.mark.parametrize("term", ["model_artifacts_days", "approval_records_days", "audit_logs_days"])
def test_a_shorter_term_is_a_downgrade(term: str) -> None:
    key = f"record.retention.{term}"
    others: dict[str, object] = dict.fromkeys(downgrades._LOOSER_SETTINGS)
    for before, after, found in ((2557, 2556, [key]), (2557, 2558, []), (2557, 2557, [])):
        loosened = downgrades.find_looser_settings(others | {key: before}, others | {key: after})
        assert [one.key for one in loosened] == found


def test_to_believe_the_path_again_is_a_downgrade(own_team: Team) -> None:
    own_team.configure({"environments": "lookup"})
    with opened(own_team) as gate:
        own_team.configure({"environments": "none"})
        gate.round()
        newest = gate.records("configuration")[-1]
        assert [(one["key"], one["from"], one["to"]) for one in newest["downgrades"]] == [
            ("environments", "lookup", "none")
        ]
        own_team.configure({"environments": "lookup"})
        gate.round()
        assert gate.records("configuration")[-1]["changed"] == ["environments"]
        assert "gate.environment/namespace_unavailable" in gate.refusal()
        assert gate.metric("placet_gate_denials_total", code="namespace_unavailable") == 1


def test_to_warn_of_what_was_governed_on_suspicion_is_a_downgrade(tmp_path: Path) -> None:
    found = []
    for name, text in (("before", "suspected: govern"), ("after", "coverage: strict")):
        (tmp_path / name).write_text(f"environments: {{production: {{{text}}}}}\n", encoding="utf-8")
        found.append(load_policy_data(tmp_path / name).value)
    assert [one.key for one in downgrades.find_downgrades(*found)] == ["environments.production.suspected"]
    assert list(downgrades.find_downgrades(found[1], found[0])) == []


def test_data_of_a_release_without_detection_has_nothing_to_be_compared_with() -> None:
    now = load_policy_data(None).value
    assert list(downgrades.find_downgrades({key: now[key] for key in now if key != "detection"}, now)) == []


def test_what_a_strict_guard_of_namespaces_gives_up_is_a_downgrade(tmp_path: Path) -> None:
    file, shipped = tmp_path / "data.yaml", load_policy_data(None).value
    file.write_text("namespaces: {move: refuse, labellers: {users: [argo]}}", encoding="utf-8")
    found = downgrades.find_downgrades(load_policy_data(file).value, shipped)
    assert [(one.key, one.before, one.after) for one in found] == [("namespaces.move", "refuse", "warn")]
    unguarded = {key: value for key, value in shipped.items() if key != "namespaces"}
    assert list(downgrades.find_downgrades(unguarded, shipped)) == []


def test_the_record_of_a_configuration_holds_no_value_of_it(own_team: Team) -> None:
    with opened(own_team, environment={"PLACET_PATH_TOKEN": "a-token-that-nobody-guesses"}) as gate:
        leaf = json.dumps(gate.records("configuration"))
        assert str(own_team.folder) not in leaf
        gate.sign()
    raw = b"".join(one.read_bytes() for one in own_team.folder.glob("record.sqlite*"))
    assert b"a-token-that-nobody-guesses" not in raw
    for key in own_team.folder.glob("keys/*.key"):
        assert key.read_bytes()[40:80] not in raw


def test_what_stands_beside_the_record_is_what_was_in_force(own_team: Team) -> None:
    own_team.configure({"policy": {"opa_timeout_seconds": 1.5}})
    with opened(own_team) as gate:
        body = gate.records("configuration")[0]
        with open_reader(own_team.folder / "record.sqlite") as reader:
            stored = reader.latest("configuration")
            assert stored is not None
            settings = reader.attachment(stored.index, "settings")
            data = reader.attachment(stored.index, "data")
        assert settings is not None
        assert data is not None
        assert str(Digest.of(settings)) == body["settings_digest"]
        assert str(Digest.of(data)) == body["data_digest"] == str(gate.runtime.generation.data.digest)
        assert json.loads(settings)["policy.opa_timeout_seconds"] == "1.5"
        gate.sign()
        key = load_own_log_key(gate.runtime.config)
    assert verify_file(own_team.folder / "record.sqlite", [key.verifier]).verified


def test_every_key_of_the_file_is_compared(tmp_path: Path) -> None:
    def keys(schema: Mapping[str, Any], prefix: str) -> set[str]:
        found: set[str] = set()
        for name, value in schema["properties"].items():
            found |= keys(value, f"{prefix}{name}.") if "properties" in value else {f"{prefix}{name}"}
        return found

    file = tmp_path / "placet.yaml"
    file.write_text(
        "cluster: c\nkeyring: {file: k, roots: [r], threshold: 1}\nrecord: {store: s, log_key: l}\n"
        "canary: {namespaces: {a: production, b: staging}}\n",
        encoding="utf-8",
    )
    flat = changes.flatten_config(load_config(file))
    assert {key for key in flat if key.startswith("canary.namespaces.")} == {
        "canary.namespaces.a",
        "canary.namespaces.b",
    }
    assert {key.removesuffix(".a").removesuffix(".b") for key in flat} == keys(SCHEMA, "")


@pytest.mark.parametrize(
    ("break_it", "part", "words"),
    [
        (lambda team: team.configure({"typo": 1}), "configuration", "typo"),
        (lambda team: (team.folder / "placet.yaml").write_text("{", encoding="utf-8"), "configuration", "YAML"),
        (lambda team: (team.folder / "placet.yaml").unlink(), "configuration", "read"),
        (lambda team: _data(team, "enviroments: {}\n"), "policy_data", "environments"),
        (lambda team: (team.folder / "policy-data.yaml").unlink(), "policy_data", "read"),
        (lambda team: (team.folder / "roots" / "root-2.pub").unlink(), "keyring", "root-2.pub"),
        (lambda team: team.configure({"keyring": {"threshold": 3}}), "keyring", "root signatures"),
        (
            lambda team: team.configure({"policy": {"engine": "opa", "opa_url": "http://127.0.0.1:9"}}),
            "engine",
            "reached",
        ),
    ],
    ids=["unknown key", "not yaml", "gone", "policy data", "no data", "no root", "threshold", "no opa"],
)
def test_what_can_not_be_used_leaves_everything_as_it_was(
    own_team: Team, approved_manifest: dict[str, Any], break_it: Any, part: str, words: str
) -> None:
    before = {file: file.read_bytes() for file in own_team.folder.rglob("*") if file.is_file()}
    with opened(own_team) as gate:
        gate.policy_data(WARN)
        office = gate.runtime.generation
        (own_team.folder / "policy-data.yaml").write_bytes(before[own_team.folder / "policy-data.yaml"])
        break_it(own_team)
        for _ in range(3):
            gate.round()
        assert gate.runtime.generation is office
        assert gate.ask(approved_manifest)["allowed"] is True
        status, text = gate.ready()
        assert status == 200
        assert text.startswith("ok\nwarning configuration: ")
        assert words.lower() in text.lower()
        assert gate.metric(REFUSED, result=f"refused_{part}") == 1
        assert gate.metric("placet_stale", part="configuration") == 1
        assert gate.metric("placet_ready", part="configuration") == 1
        for file, content in before.items():
            if file.suffix in {".yaml", ".pub"}:
                file.write_bytes(content)
        gate.round()
        assert gate.ready() == (200, "ok\n")
        assert gate.metric("placet_stale", part="configuration") == 0
        assert len(gate.records("configuration")) == 1


def _data(team: Team, text: str) -> None:
    (team.folder / "policy-data.yaml").write_text(text, encoding="utf-8")


def test_a_refusal_is_logged_once_and_tried_again_later(
    own_team: Team, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(own_team) as gate:
        _data(own_team, "enviroments: {}\n")
        for _ in range(3):
            gate.round()
            monkeypatch.setattr(gate.runtime, "_retry_s", 0.0)
        assert [record.getMessage() for record in caplog.records].count("reload refused") == 1


def test_a_change_that_can_not_be_recorded_does_not_count(own_team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(own_team, faulty=True) as gate:
        assert gate.faults is not None
        gate.policy_data(WARN)
        gate.faults.fail("commit", after=False, error=unavailable("store_full", "injected"))
        gate.round()
        assert gate.ask()["allowed"] is False
        assert "warning configuration: store_full: " in gate.ready()[1]
        assert gate.metric(REFUSED, result="refused_record") == 1
        monkeypatch.setattr(gate.runtime, "_retry_s", 0.0)
        gate.round()
        assert gate.ask()["allowed"] is True
        assert len(gate.records("configuration")) == 2


def test_keys_that_need_a_restart_are_named_and_the_others_apply(own_team: Team) -> None:
    with opened(own_team) as gate:
        own_team.configure(
            {"cluster": "elsewhere", "server": {"threads": 7}, "autoscalers": "none", "log": {"level": "warning"}}
        )
        gate.round()
        assert (gate.runtime.config.cluster, gate.runtime.config.autoscalers) == ("e2e", "none")
        assert gate.runtime.config.server.threads == 4
        status, text = gate.ready()
        assert status == 200
        assert "warning configuration: restart_needed: " in text
        assert "cluster" in text
        assert "server.threads" in text
        newest = gate.records("configuration")[-1]
        assert newest["cluster"] == "e2e"
        assert {"autoscalers", "log.level"} <= set(newest["changed"])
        assert {"cluster", "server.threads"} <= set(newest["pending_restart"])
    own_team.configure({"cluster": "e2e"})
    with opened(own_team) as gate:
        newest = gate.records("configuration")[-1]
        assert (newest["cause"], newest["changed"], newest["pending_restart"]) == ("start", ["server.threads"], [])


def test_another_log_key_waits_for_a_restart(own_team: Team) -> None:
    with opened(own_team) as gate:
        shutil.copyfile(own_team.folder / "keys" / "sam.key", own_team.folder / "keys" / "log.key")
        gate.round()
        assert "restart_needed: changed since the start: record.log_key" in gate.ready()[1]


def test_a_key_that_takes_over_waits_for_a_restart_and_then_signs_too(own_team: Team) -> None:
    file = own_team.folder / "placet.yaml"
    own_team.configure({"record": {"checkpoints": "saved"}})
    present = load_own_log_key(load_config(file))
    following = generate_log_key(own_team.folder / "keys" / "next.key", name=present.name).verifier
    with opened(own_team) as gate:
        own_team.configure({"record": {"next_log_key": "keys/next.key"}})
        gate.round()
        assert "record.next_log_key" in gate.ready()[1]
    with opened(own_team) as gate:
        gate.sign()
    record = load_config(file).store
    with open_reader(record) as reader:
        latest = reader.latest_checkpoint()
    assert latest is not None
    assert verify_checkpoint(latest.raw_note, [following]) == verify_checkpoint(latest.raw_note, [present.verifier])
    file.write_text(
        file.read_text().replace("keys/log.key", "keys/next.key").replace("  next_log_key: keys/next.key\n", "")
    )
    with opened(own_team) as gate:
        gate.sign()
        assert gate.ready()[0] == 200
    assert verify_file(record, [following, present.verifier]).verified


def test_kubernetes_swaps_links_and_the_change_is_seen(own_team: Team) -> None:
    mounted = own_team.folder / "mounted"
    for name, text in (("a", "environments: {}\n"), ("b", WARN)):
        (mounted / name).mkdir(parents=True)
        (mounted / name / "data.yaml").write_text(text, encoding="utf-8")
        os.utime(mounted / name / "data.yaml", (1, 1))
    (mounted / "..data").symlink_to("a")
    (mounted / "data.yaml").symlink_to("..data/data.yaml")
    own_team.configure({"policy": {"data": "mounted/data.yaml"}})
    with opened(own_team) as gate:
        assert gate.ask()["allowed"] is False
        (mounted / "..new").symlink_to("b")
        (mounted / "..new").rename(mounted / "..data")
        gate.round()
        assert gate.ask()["allowed"] is True


def test_files_that_only_look_new_change_nothing(own_team: Team) -> None:
    with opened(own_team) as gate:
        office = gate.runtime.generation
        for name in ("placet.yaml", "policy-data.yaml"):
            content = (own_team.folder / name).read_bytes()
            (own_team.folder / name).unlink()
            (own_team.folder / name).write_bytes(content)
        gate.round()
        assert gate.runtime.generation is office
        gate.runtime.reload()  # SIGHUP asks for it all the same
        assert gate.runtime.generation is not office
        assert gate.metric(REFUSED, result="unchanged") == 1
        assert len(gate.records("configuration")) == 1


def test_reviews_under_way_end_with_the_gate_that_they_began_with(
    own_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()
    closed: list[EmbeddedEngine] = []
    judge, close = EmbeddedEngine.evaluate, EmbeddedEngine.close

    def slow(self: EmbeddedEngine, document: bytes, *, deadline_s: float) -> Any:
        if threading.current_thread().name == "slow":
            began.set()
            go_on.wait(30)
        return judge(self, document, deadline_s=deadline_s)

    def counted(self: EmbeddedEngine) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(EmbeddedEngine, "evaluate", slow)
    monkeypatch.setattr(EmbeddedEngine, "close", counted)
    answers: list[dict[str, Any]] = []
    with opened(own_team) as gate:
        thread = threading.Thread(target=lambda: answers.append(gate.ask()), name="slow")
        thread.start()
        assert began.wait(30)
        gate.policy_data(WARN)
        gate.round()
        assert gate.ask()["allowed"] is True
        assert closed == []
        go_on.set()
        thread.join(30)
        assert answers[0]["allowed"] is False
        assert "role_missing" in str(answers[0])
        assert len(closed) == 1


def test_no_review_fails_while_policy_data_change_all_the_time(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    wrong: list[Any] = []
    stop = threading.Event()

    def ask(gate: Gate) -> None:
        client = gate.runtime.app.test_client()
        other = Gate(gate.team, gate.runtime, gate.clock)
        other.client = client
        while not stop.is_set():
            response = other.ask(approved_manifest)
            if not response["allowed"]:
                wrong.append(response)

    with opened(own_team) as gate:
        threads = [threading.Thread(target=ask, args=(gate,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for turn in range(6):
            gate.policy_data(WARN if turn % 2 else "environments: {}\n")
            gate.round()
        stop.set()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert len(gate.records("configuration")) >= 6


def test_revocations_count_without_a_reload(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    with opened(own_team) as gate:
        assert gate.ask(approved_manifest)["allowed"] is True
        (own_team.folder / "revocations" / "x.dsse.json").write_text("{}", encoding="utf-8")
        assert "revocations_unreadable" in gate.refusal(approved_manifest)
        assert gate.ready()[0] == 503
        (own_team.folder / "revocations" / "x.dsse.json").unlink()
        assert gate.ask(approved_manifest)["allowed"] is True
        assert gate.ready()[0] == 200


def test_the_watch_goes_on_after_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def task() -> None:
        calls.append(1)
        raise RuntimeError("once more")

    rounds = iter([False, False, False, True])
    watcher = Watcher([task], wait=lambda seconds: next(rounds) if seconds == watch.EVERY_S else True)
    watcher.start()
    watcher.join(30)
    assert len(calls) == 3
    assert [record.getMessage() for record in caplog.records] == ["the watch failed and goes on"]


def test_the_command_line_lists_and_shows_a_configuration(own_team: Team) -> None:
    with opened(own_team) as gate:
        gate.policy_data(WARN)
        gate.round()
    listed = own_team.run("audit", "list", "--store", "record.sqlite", "--type", "configuration", "-o", "json")
    records = json.loads(listed.stdout)["records"]
    assert [one["record"]["cause"] for one in records] == ["reload", "start"]
    shown = own_team.run("audit", "show", "--store", "record.sqlite", str(records[0]["index"])).stdout
    assert "downgrades" in shown
    assert "environments.production.mode" in shown
