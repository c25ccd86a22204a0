"""Who may ask: a client certificate by name, and a path that nobody guesses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from placet.config_server import ServerConfig
from placet.errors import ConfigError
from tests.e2e.gateprocess import Team
from tests.simulators.gate import example, review
from tests.webhook.gaterun import PATH, opened
from webhook.app import GUARD_PATH
from webhook.settings import Access, load_access

TOKEN = "kQ7-fW_0.e~nR5tY2uI9oP"


@pytest.fixture
def strict_team(own_team: Team) -> Team:
    own_team.configure({"server": {"client_ca": "tls/ca.crt", "client_names": ["kube-apiserver", "apiserver.local"]}})
    return own_team


def test_a_caller_with_a_name_that_is_listed_is_answered_and_recorded_as_such(strict_team: Team) -> None:
    with opened(strict_team) as gate:
        gate.ask(callers=("somebody", "kube-apiserver"))
        assert gate.records("decision")[0]["caller_authenticated"] is True


@pytest.mark.parametrize("callers", [(), ("somebody",), ("kube-apiserver.evil",), ("KUBE-APISERVER",), ("",)], ids=repr)
def test_anybody_else_gets_no_review_and_leaves_no_record(strict_team: Team, callers: tuple[str, ...]) -> None:
    with opened(strict_team) as gate:
        answer = gate.client.post(
            PATH,
            data=json.dumps(review(example())),
            content_type="application/json",
            environ_overrides={"placet.caller_names": callers},
        )
        assert (answer.status_code, answer.get_json()["code"]) == (403, "caller_unknown")
        assert gate.records("decision") == []
        assert gate.metric("placet_http_refusals_total", code="caller_unknown") == 1


def test_a_header_is_no_certificate(strict_team: Team) -> None:
    with opened(strict_team) as gate:
        answer = gate.client.post(
            PATH,
            data=json.dumps(review(example())),
            content_type="application/json",
            headers={"placet.caller_names": "kube-apiserver", "Placet-Caller-Names": "kube-apiserver"},
        )
        assert answer.status_code == 403


def test_probes_need_no_certificate(strict_team: Team) -> None:
    with opened(strict_team) as gate:
        assert [gate.client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3


def test_without_names_the_record_says_that_nobody_was_authenticated(own_team: Team) -> None:
    with opened(own_team) as gate:
        gate.ask(callers=("kube-apiserver",))
        assert gate.records("decision")[0]["caller_authenticated"] is False


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{PATH}/{TOKEN}", 200),
        (PATH, 404),
        (f"{PATH}/", 404),
        (f"{PATH}/{TOKEN[:-1]}", 404),
        (f"{PATH}/{TOKEN}x", 404),
        (f"{PATH}/{TOKEN.lower()}", 404),
        (f"{PATH}/{TOKEN}/", 404),
        (f"{PATH}/\u00e9\ud83d", 404),
        (f"{GUARD_PATH}/{TOKEN}", 200),
        (GUARD_PATH, 404),
        (f"{GUARD_PATH}/", 404),
        (f"{GUARD_PATH}{TOKEN}", 404),
        (f"{GUARD_PATH}/{TOKEN[:-1]}", 404),
    ],
)
def test_with_a_token_no_other_path_is_there(own_team: Team, path: str, status: int) -> None:
    with opened(own_team, environment={"PLACET_PATH_TOKEN": TOKEN}) as gate:
        answer = gate.client.post(
            path.encode("utf-8", "replace").decode(),
            data=json.dumps(review(example())),
            content_type="application/json",
        )
        assert answer.status_code == status
        assert TOKEN not in answer.get_data(as_text=True)


def test_a_wrong_token_looks_like_any_path_that_is_not_there(own_team: Team) -> None:
    with opened(own_team, environment={"PLACET_PATH_TOKEN": TOKEN}) as gate:
        wrong = gate.client.post(f"{PATH}/{'x' * 22}", data=b"{}", content_type="application/json")
        nowhere = gate.client.post("/nowhere", data=b"{}", content_type="application/json")
        assert wrong.status_code == nowhere.status_code == 404
        assert wrong.get_json() == nowhere.get_json()
        assert gate.client.get(f"{PATH}/{'x' * 22}").status_code == 404


def server(**changes: Any) -> ServerConfig:
    values: dict[str, Any] = {
        "host": "127.0.0.1", "port": 1, "tls_cert": None, "tls_key": None, "tls_minimum": "1.3", "client_ca": None,
        "client_names": (), "status_port": None, "threads": 1, "drain_s": 0.0, **changes,
    }  # fmt: skip
    return ServerConfig(**values)


@pytest.mark.parametrize("token", ["", "x" * 15, "x" * 16 + "/", "x" * 16 + " ", "x" * 16 + "%", "\u00e9" * 20])
def test_a_token_that_is_short_or_has_two_spellings_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_access(server(), {"PLACET_PATH_TOKEN": token})
    assert not token or token not in str(caught.value)


def test_the_token_is_not_in_what_is_printed() -> None:
    assert TOKEN not in repr(load_access(server(), {"PLACET_PATH_TOKEN": TOKEN}))


def test_the_application_holds_alternative_names_against_the_certificate_too(own_team: Team) -> None:
    san = "URI:spiffe://cluster/apiserver"
    own_team.configure(
        {"server": {"client_ca": "tls/ca.crt", "client_names": ["kube-apiserver"], "client_sans": [san]}}
    )
    with opened(own_team) as gate:
        for names, sans, status in (
            (["kube-apiserver"], [san], 200),
            (["kube-apiserver"], [], 403),
            (["kube-apiserver", san], [], 403),
            (["somebody"], [san], 403),
        ):
            answer = gate.client.post(
                PATH,
                data=json.dumps(review(example())),
                content_type="application/json",
                environ_overrides={"placet.caller_names": names, "placet.caller_sans": sans},
            )
            assert answer.status_code == status
        assert [one["caller_authenticated"] for one in gate.records("decision")] == [True]


def test_nobody_is_authenticated_where_nobody_is_named() -> None:
    assert Access().admits(()) is True
    assert Access().authenticates(("kube-apiserver",)) is False
    assert Access(sans=frozenset({"DNS:a"})).authenticates(("b",), ("DNS:a",)) is True
    assert Access(sans=frozenset({"DNS:a"})).admits(("a", "DNS:a")) is False
    named = Access(names=frozenset({"a"}))
    assert (named.admits(("b",)), named.admits(("b", "a")), named.authenticates(("a",))) == (False, True, True)
