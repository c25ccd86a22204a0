"""Nothing that happens in the life of a gate costs a call: reviews without end, sent as an API server sends them.

Two replicas on one record serve behind a Service that follows their readiness. ``make lifecycle`` sends 10,000 reviews
during each event; by default there are fewer.
"""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import sqlite3
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.e2e.gateprocess import Team
from tests.e2e.lifegate import PATIENCE_S, Replica, Service
from tests.e2e.lifeload import REVIEWS, Load, write_lines, write_load
from tests.e2e.processes import poll_until
from tests.e2e.slowcallers import SlowCallers

TIMES: Final = 5 if REVIEWS >= 5000 else 2
# SQLite's own size of the write-ahead log is 4 MB when its checkpoints are let through; the limit is ten times that.
LARGEST_WAL: Final = 40 * 1024 * 1024
SLOW: Final = 100

Reviews = tuple[Path, Path]


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return Team.found(tmp_path_factory.mktemp("team"))


@pytest.fixture(scope="module")
def reviews(founded: Team, tmp_path_factory: pytest.TempPathFactory) -> Reviews:
    return write_load(founded.folder, tmp_path_factory.mktemp("reviews"))


@pytest.fixture
def service(founded: Team, tmp_path: Path) -> Iterator[Service]:
    """A Service of a copy of the team, with no replica yet."""
    shutil.copytree(founded.folder, tmp_path / "team")
    with Service(Team(tmp_path / "team"), tmp_path) as service:
        yield service


def endure(
    service: Service,
    reviews: Reviews,
    event: Callable[[int], None],
    *,
    times: int = TIMES,
    count: int = REVIEWS,
    **terms: Any,
) -> Load:
    """Let an event happen again and again under load; no call may fail, and the record has all of them."""
    before = service.decided()
    files = {"endpoints": service.endpoints, "ca": service.ca, "reviews": reviews}
    with Load(service.folder, count=count, **files, **terms) as load:  # type: ignore[arg-type]
        load.wait_for(100)
        for number in range(times):
            event(number)
            load.wait_for(100)
    service.require_clean(load.outcome, before=before)
    assert load.outcome.sent >= count
    assert "VERIFIED" in service.verify()
    return load


def serial(replica: Replica) -> int:
    """Of the certificate that it serves with now."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", replica.port), timeout=PATIENCE_S) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as stream,
    ):
        return hash(stream.getpeercert(binary_form=True))


def until_all_serve_another(service: Service, before: dict[str, int]) -> None:
    assert poll_until(lambda: all(serial(one) != before[one.address] for one in service.replicas), PATIENCE_S)


def serials(service: Service) -> dict[str, int]:
    return {one.address: serial(one) for one in service.replicas}


def replace_file(file: Path, content: str) -> None:
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(content, encoding="utf-8")
    fresh.replace(file)


def count_said(service: Service, message: str) -> dict[str, int]:
    return {one.address: one.log.count(f'"message": "{message}"') for one in service.replicas}


def until_all_say_once_more(service: Service, message: str, before: dict[str, int]) -> None:
    def said() -> bool:
        return all(found > before[address] for address, found in count_said(service, message).items())

    assert poll_until(said, PATIENCE_S), [one.log[-2000:] for one in service.replicas]


# -- processes come and go


@pytest.mark.parametrize("resolve", ["dial", "call"])
def test_a_rolling_restart_under_load_costs_no_call(service: Service, reviews: Reviews, resolve: str) -> None:
    service.start(2)
    first = {one.address for one in service.replicas}
    # An address for each call is what API servers from 1.37 on choose; before, one for each connection.
    load = endure(service, reviews, lambda _: void(service.replace(service.replicas[0])), resolve=resolve)
    assert not first & {one.address for one in service.replicas}
    assert load.outcome.endpoint_changes >= 2 * TIMES


def void(_: object) -> None:
    """Of what is returned, nothing is wanted."""


def test_a_lone_replica_is_replaced_under_load_without_a_failed_call(service: Service, reviews: Reviews) -> None:
    service.start()
    endure(service, reviews, lambda _: void(service.replace(service.replicas[0])))


def test_two_replicas_write_one_record_under_load(service: Service, reviews: Reviews) -> None:
    service.start(2)
    largest = 0

    def look(_: int) -> None:
        nonlocal largest
        largest = max(largest, service.record.with_name("record.sqlite-wal").stat().st_size)

    endure(service, reviews, look, times=max(TIMES, REVIEWS // 200))
    assert 0 < largest < LARGEST_WAL
    with sqlite3.connect(f"file:{service.record}?mode=ro", uri=True) as connection:
        indexes = [row[0] for row in connection.execute("SELECT idx FROM leaves ORDER BY idx")]
    connection.close()
    assert indexes == list(range(len(indexes)))
    decided_by = {one.address: one.log.count('"message": "decision"') for one in service.replicas}
    assert min(decided_by.values()) > 50, decided_by


def test_a_kill_at_any_moment_loses_no_answered_review(service: Service, reviews: Reviews) -> None:
    service.start(2)
    before = service.decided()
    with Load(service.folder, endpoints=service.endpoints, ca=service.ca, reviews=reviews) as load:
        for _ in range(TIMES):
            load.wait_for(150)
            victim = service.replicas[0]
            victim.signal(signal.SIGKILL)
            service.wait_until_listed(victim, listed=False)
            victim.process.stop()
            service.replicas.remove(victim)
            service.start()
    outcome = load.outcome
    assert outcome.wrong == 0, outcome.told
    grown = {uid: allowed for uid, allowed in service.decided().items() if uid not in before}
    assert outcome.by_verdict["allowed"] <= {uid for uid, allowed in grown.items() if allowed}
    assert outcome.by_verdict["refused"] <= {uid for uid, allowed in grown.items() if not allowed}
    # What nobody heard an answer to may be in the record; nothing else may.
    assert grown.keys() - outcome.by_verdict["allowed"] - outcome.by_verdict["refused"] <= outcome.by_verdict["failed"]
    assert service.complaints() == {}
    assert outcome.sent >= REVIEWS
    # Those who are left, and those who came, answer as if nothing had been.
    endure(service, reviews, lambda _: None, times=1, count=200)


# -- certificates


def test_serving_certificates_rotate_under_load_without_a_failed_call(service: Service, reviews: Reviews) -> None:
    service.start(2)

    def rotate(_: int) -> None:
        before = serials(service)
        service.issue(service.authority)
        until_all_serve_another(service, before)

    load = endure(service, reviews, rotate)
    assert load.outcome.dials > 8  # connections of the old certificates were retired


def test_the_authority_of_serving_certificates_changes_under_load(service: Service, reviews: Reviews) -> None:
    service.start(2)

    def change(number: int) -> None:
        old, new = service.authority, service.new_authority(f"serving-{number}")
        service.trust(old, new)
        before = serials(service)
        service.issue(new)
        until_all_serve_another(service, before)
        service.trust(new)
        service.authority = new

    load = endure(service, reviews, change)
    assert load.outcome.clients == 1 + 2 * TIMES


def test_the_authority_of_api_servers_changes_under_load(service: Service, reviews: Reviews, tmp_path: Path) -> None:
    callers = service.new_authority("callers")
    trusted, cert, key = tmp_path / "client-ca.crt", tmp_path / "client.crt", tmp_path / "client.key"

    def show(authority: Any) -> None:
        files = authority.client("kube-apiserver")
        for source, target in ((files.key, key), (files.certificate, cert)):
            replace_file(target, source.read_text(encoding="utf-8"))

    write_lines(trusted, [callers.pem.decode()])
    show(callers)
    service.team.configure({"server": {"client_ca": str(trusted), "client_names": ["kube-apiserver"]}})
    service.start(2)
    stranger = service.new_authority("strangers")

    def change(number: int) -> None:
        nonlocal callers
        new = service.new_authority(f"callers-{number}")
        for step in ((callers, new), (new,)):
            before = count_reloads(service)
            replaced = "".join(one.pem.decode() for one in step)
            replace_file(trusted, replaced)
            until_all_reloaded(service, before)
            show(new)
        callers = new

    endure(service, reviews, change, client=(cert, key))
    assert answer_to_stranger(service, stranger.client("kube-apiserver")) != http.client.OK


def count_reloads(service: Service) -> dict[str, int]:
    return {one.address: one.log.count("certificate reloaded") for one in service.replicas}


def until_all_reloaded(service: Service, before: dict[str, int]) -> None:
    """Every replica has other certificate files in force."""
    assert poll_until(lambda: all(n > before[address] for address, n in count_reloads(service).items()), PATIENCE_S)


def answer_to_stranger(service: Service, files: Any) -> int:
    """HTTP status of a review whose caller shows a certificate of nobody who is trusted; 0 without an answer."""
    context = ssl.create_default_context(cadata=service.authority.pem.decode())
    context.load_cert_chain(files.certificate, files.key)
    connection = http.client.HTTPSConnection("localhost", service.replicas[0].port, timeout=10, context=context)
    try:
        connection.request("POST", "/v1/admit/production", "{}", {"Content-Type": "application/json"})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


# -- files


def renew_keyring(team: Team) -> bytes:
    """The next version of the keyring, signed; the one in force is left alone."""
    team.run("keyring", "renew", "--source", "keyring.yaml")
    fresh = team.folder / "next.dsse.json"
    fresh.unlink(missing_ok=True)
    for root in (1, 2):
        team.run("keyring", "sign", "--source", "keyring.yaml", "--key", f"keys/root-{root}.key", "--out", fresh.name)
    return fresh.read_bytes()


def keyring_versions(service: Service) -> list[int]:
    connection = sqlite3.connect(f"file:{service.record}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT leaf FROM leaves WHERE leaf_type = 'keyring' ORDER BY idx").fetchall()
    finally:
        connection.close()
    return [int(json.loads(leaf.partition(b"\n")[2])["version"]) for (leaf,) in rows]


def test_a_keyring_that_is_written_in_pieces_costs_no_call(service: Service, reviews: Reviews) -> None:
    service.start(2)
    keyring = service.team.folder / "keyring.dsse.json"
    first = keyring_versions(service)[-1]

    def renew(_: int) -> None:
        content = renew_keyring(service.team)
        version, before = keyring_versions(service)[-1], count_said(service, "readiness warning")
        with keyring.open("wb", buffering=0) as file:  # not how to do it: what an editor or a plain copy does
            file.write(content[: len(content) // 2])
            until_all_say_once_more(service, "readiness warning", before)
            assert keyring_versions(service)[-1] == version
            file.write(content[len(content) // 2 :])
        assert poll_until(lambda: keyring_versions(service)[-1] == version + 1, PATIENCE_S)

    endure(service, reviews, renew)
    assert sorted(set(keyring_versions(service))) == [*range(first, first + TIMES + 1)]


@pytest.mark.parametrize("how", ["at once", "in pieces", "hangup"])
def test_policy_data_change_under_load_without_a_failed_call(service: Service, reviews: Reviews, how: str) -> None:
    file = service.team.folder / "policy-data.yaml"
    file.write_text("environments: {production: {mode: enforce}}\n", encoding="utf-8")
    service.start(2)

    def change(number: int) -> None:
        before = count_said(service, "reload applied")
        text = f"environments: {{staging: {{mode: {('warn', 'audit')[number % 2]}}}, production: {{mode: enforce}}}}\n"
        if how == "in pieces":
            with file.open("w", encoding="utf-8") as opened:
                opened.write(text[:40])
                opened.flush()
                opened.write(text[40:])
        else:
            replace_file(file, text)
        if how == "hangup":
            for replica in service.replicas:
                replica.signal(signal.SIGHUP)
        until_all_say_once_more(service, "reload applied", before)

    endure(service, reviews, change)


def test_the_configuration_changes_under_load_without_a_failed_call(service: Service, reviews: Reviews) -> None:
    service.start(2)
    file = service.team.folder / "placet.yaml"

    def change(number: int) -> None:
        before = count_said(service, "reload applied")
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        config["autoscalers"] = "none" if number % 2 == 0 else "unknown"
        replace_file(file, yaml.safe_dump(config))
        until_all_say_once_more(service, "reload applied", before)

    endure(service, reviews, change)


# -- callers that are slow


def test_a_hundred_stalled_connections_and_a_hundred_slow_bodies_cost_no_call(
    service: Service, reviews: Reviews
) -> None:
    (replica,) = service.start()
    with SlowCallers("127.0.0.1", [replica.port], SLOW) as slow:
        load = endure(service, reviews, lambda _: slow.wait_for_renewal())
        assert slow.opened > 2 * SLOW  # the server ended some, and others came in their place
    # More than one address may have: on a quick machine each makes room for another before its own time is over.
    with SlowCallers("127.0.0.1", [replica.port], SLOW // 2):
        timed_out = 'placet_server_events_total{event="timed_out"}'
        assert poll_until(lambda: replica.metric(timed_out) > 0, PATIENCE_S)
    assert load.outcome.slowest_ms < 10_000
