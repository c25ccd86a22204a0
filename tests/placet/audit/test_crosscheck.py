"""The record beside an API server's audit log: honest logs agree, and each way to tamper with one of them is named."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from placet.audit.doubts import CrossCheck
from placet.audit.findings import KINDS, Verification
from placet.audit.record import parse_leaf, render_leaf
from placet.audit.verify import verify_file
from placet.audit.witness import Witness
from placet.errors import InputError
from tests.simulators.apiserverlog import (
    WEBHOOK,
    Event,
    build_record,
    event_of,
    events_of,
    moment,
    without_marks,
    write_log,
)
from tests.simulators.tampering import (
    LOG_KEY,
    OTHER_KEY,
    copy_of,
    cover_up,
    decision,
    delete,
    insert_at,
    put_leaf,
    raw_leaf,
    sign_anew,
    surgery,
)

KEYS = [LOG_KEY.verifier]
CUSTOM = {("ray.io", "rayservices"): "RayService"}
SIZE = 40
ADMITTED = 30  # three of four


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_record(tmp_path_factory.mktemp("log") / "record.db", size=SIZE)


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    return copy_of(built, tmp_path)


@pytest.fixture
def events(built: Path) -> list[Event]:
    return events_of(built)


def verified(store: Path, *files: Path, governed: tuple[str, ...] = (), **period: Any) -> Verification:
    with Witness(KEYS, kinds=CUSTOM, **period) as witness:
        witness.load(files)
        return verify_file(store, KEYS, witness=witness, governed=governed)


def crossed(store: Path, events: list[Event], **options: Any) -> CrossCheck:
    result = verified(store, write_log(store.parent / "audit.log", events), **options)
    assert result.crosscheck is not None
    assert result.verified == (not result.crosscheck.counts and not result.findings)
    assert set(result.crosscheck.counts) <= set(KINDS)
    return result.crosscheck


def test_an_honest_log_agrees(store: Path, events: list[Event]) -> None:
    found = crossed(store, events)
    assert found.counts == {}
    assert found.findings == ()
    assert found.leaves == {"admitted": ADMITTED, "refused_later": 0, "asked_again": 0, "outside": 0}
    assert (found.requests, found.admitted, found.namespaces) == (SIZE, ADMITTED, ("ml",))
    assert (found.first, found.last) == (moment(0, milliseconds=5), moment(SIZE - 1, milliseconds=5))


def test_rotated_packed_and_repeated_files_count_once_in_any_order(store: Path, events: list[Event]) -> None:
    older = write_log(store.parent / "audit-1.log.gz", events[:25])
    newer = write_log(store.parent / "audit.log", events[20:])
    result = verified(store, newer, older, older)
    assert result.verified
    assert result.crosscheck is not None
    assert result.crosscheck.requests == SIZE
    assert result.crosscheck.notes == (f"{25 + 5} events stand in two places and count once",)


def _dry_run(event: Event) -> Event:
    dry = without_marks(event)
    dry["requestURI"] += "&dryRun=All"
    dry["auditID"] += "-dry"
    dry["annotations"][f"{WEBHOOK}/decision-id"] = "dry"
    return dry


def _of_another_log(event: Event) -> Event:
    """The gate of another log, asked about another namespace."""
    other = copy.deepcopy(event)
    note = OTHER_KEY.sign("placet.dev/log/other\n9\n" + "A" * 43 + "=\n").replace("log/test", "log/other")
    told = {f"away.{key}": value for key, value in other["annotations"].items() if key.startswith(WEBHOOK)}
    other["objectRef"]["namespace"] = "away"
    other["annotations"] = {**told, f"away.{WEBHOOK}/checkpoint": note}
    return other


HONEST: dict[str, Any] = {
    "a dry run leaves no leaf": lambda events: events.append(_dry_run(events[5])),
    "another plugin refused it": lambda events: events[5]["responseStatus"].update(code=403),
    "it ran into a conflict": lambda events: events[5]["responseStatus"].update(code=409),
    "its caller went away": lambda events: events[5].update(stage="Panic"),
    "the gate's answer came too late": lambda events: events.__setitem__(
        5, {**without_marks(events[5]), "responseStatus": {"code": 500}}
    ),
    "another namespace is not governed": lambda events: events.append(
        {**without_marks(events[5]), "objectRef": {**events[5]["objectRef"], "namespace": "elsewhere"}}
    ),
    "it was there before the gate": lambda events: events.append(
        {**without_marks(events[0]), "requestReceivedTimestamp": moment(-9), "stageTimestamp": moment(-9)}
    ),
    "nobody asks about its status": lambda events: events.append(
        {**without_marks(events[5]), "objectRef": {**events[5]["objectRef"], "subresource": "status"}}
    ),
    "a request is logged when it arrives, too": lambda events: events.append(
        {**without_marks(events[5]), "stage": "RequestReceived"}
    ),
    "who impersonates is not who asks": lambda events: events[5].update(
        impersonatedUser=events[5]["user"], user={"username": "root"}
    ),
    "the API server makes the name": lambda events: events[5]["objectRef"].pop("name"),
    "another gate has its own log": lambda events: events.append(_of_another_log(events[5])),
    "clocks are half a minute apart": lambda events: [
        event.update(requestReceivedTimestamp=moment(n + 3), stageTimestamp=moment(n + 3, milliseconds=9))
        for n, event in enumerate(events)
    ],
}


@pytest.mark.parametrize("name", HONEST)
def test_what_happens_every_day_is_no_finding(name: str, store: Path, events: list[Event]) -> None:
    HONEST[name](events)
    found = crossed(store, events)
    assert found.counts == {}, found.findings
    assert sum(found.leaves.values()) == ADMITTED


def test_a_request_that_was_asked_about_twice_has_both_leaves(store: Path, events: list[Event]) -> None:
    """The API server keeps the first answer's annotations; here the first one refused, on what was then old."""
    first, second = events[4], events[5]
    assert first["responseStatus"]["code"] == 403
    first["responseStatus"]["code"] = 200
    first["objectRef"] = second["objectRef"]
    first["stageTimestamp"] = second["stageTimestamp"]
    with surgery(store) as database:
        body = dict(parse_leaf(raw_leaf(database, 4)).body) | {"name": second["objectRef"]["name"]}
        put_leaf(database, 4, render_leaf(body).raw)
        cover_up(database)
        sign_anew(database, LOG_KEY)
    changed = events_of(store)
    first["annotations"] = changed[4]["annotations"]
    kept = [first if number == 4 else event for number, event in enumerate(changed) if number != 5]
    found = crossed(store, kept)
    assert found.counts == {}, found.findings
    assert found.leaves["admitted"] == ADMITTED


def test_a_leaf_outside_of_what_the_audit_log_covers_is_explained(store: Path, events: list[Event]) -> None:
    found = crossed(store, events[10:30])
    assert found.counts == {}
    assert found.leaves["outside"] == sum(1 for n in (*range(10), *range(30, 40)) if n % 4)


def test_a_period_leaves_out_what_was_before_and_after(store: Path, events: list[Event]) -> None:
    since, until = (datetime.fromisoformat(moment(n)) for n in (10, 30))
    events[3] = without_marks(events[3])  # would be found, were it looked at
    found = crossed(store, events, since=since, until=until)
    assert found.counts == {}
    assert found.requests == 20


def test_a_custom_kind_that_was_never_asked_about_is_noted_and_one_that_was_is_found(
    store: Path, events: list[Event]
) -> None:
    target = {"resource": "rayservices", "apiGroup": "ray.io", "apiVersion": "v1", "namespace": "ml", "name": "ray"}
    bypassed = {**without_marks(events[25]), "objectRef": target}
    found = crossed(store, [*events, bypassed])
    assert found.counts == {}
    assert found.notes == (
        "1 admissions of rayservices.ray.io, which the gate was never asked about: see the webhook's rules",
    )
    assert crossed(store, [*events, bypassed], governed=("ml",)).counts == {"unasked": 1}


# --- tampering -------------------------------------------------------------------------------------------------------


def _bypass(events: list[Event]) -> None:
    events.append({**without_marks(events[21]), "objectRef": {**events[21]["objectRef"], "name": "hidden"}})


def _same_audit_id(events: list[Event]) -> None:
    """The client chose the id of a request that was recorded."""
    other = {**without_marks(events[21]), "objectRef": {**events[21]["objectRef"], "name": "hidden"}}
    events.append({**other, "auditID": events[20]["auditID"]})


def _borrowed_leaf(events: list[Event]) -> None:
    borrowed = copy.deepcopy(events[21])
    borrowed["requestReceivedTimestamp"] = moment(21, milliseconds=-9)
    events.append(borrowed)


def _renamed(events: list[Event]) -> None:
    events[21]["objectRef"]["name"] = "another"


def _later(events: list[Event]) -> None:
    events[1].update(requestReceivedTimestamp=moment(39), stageTimestamp=moment(39))


BESIDE: dict[str, tuple[Any, dict[str, int], str]] = {
    "the webhook was away": (_bypass, {"unasked": 1}, "deployments ml/hidden by alice@example.org was admitted"),
    "the client chose a known audit id": (_same_audit_id, {"unasked": 1}, "ml/hidden"),
    "two requests have one leaf": (_borrowed_leaf, {"leaf_reused": 1}, "names leaf 21"),
    "the leaf is about another object": (
        _renamed,
        {"admission_differs": 1, "unwitnessed": 1},
        "names leaf 21, which is about another request: its name is 'llama-0'",
    ),
    "the leaf is of another time": (_later, {"admission_differs": 1}, "it is of another time"),
    "what was refused came in": (
        lambda events: events[20]["responseStatus"].update(code=201),
        {"refused_admitted": 1},
        "was admitted, and leaf 20 refused it",
    ),
    "an annotation is garbled": (
        lambda events: events[20]["annotations"].update({f"{WEBHOOK}/log-index": "-1"}),
        {"annotation_invalid": 1},
        "log-index is no index",
    ),
    "a checkpoint is not signed by the log": (
        lambda events: events[20]["annotations"].update(
            {f"{WEBHOOK}/checkpoint": OTHER_KEY.sign("placet.dev/log/test\n9\n" + "A" * 43 + "=\n")}
        ),
        {"annotation_invalid": 1},
        "its checkpoint: no trusted key has signed the checkpoint",
    ),
    "an event is missing": (lambda events: events.pop(21), {"unwitnessed": 1}, "Deployment ml/llama-0 by alice"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_an_audit_log_that_does_not_fit_is_found(name: str, store: Path, events: list[Event]) -> None:
    work, counts, sentence = BESIDE[name]
    work(events)
    found = crossed(store, events)
    assert found.counts == counts, found.findings
    assert any(sentence in one.sentence for one in found.findings)


def test_an_admission_on_an_answer_without_a_leaf_is_found(store: Path, events: list[Event]) -> None:
    answered = without_marks(events[21])
    answered["annotations"][f"{WEBHOOK}/decision-id"] = "unrecorded"
    answered["objectRef"] = {**answered["objectRef"], "name": "hidden"}
    assert crossed(store, [*events, answered]).counts == {"unrecorded": 1}


def test_a_leaf_that_was_deleted_is_missed(store: Path, events: list[Event]) -> None:
    with surgery(store) as database:
        delete(database, 21, 22)
    found = crossed(store, events)
    assert found.counts == {"leaf_missing": 1}
    assert found.first_bad_index == 21


def test_a_leaf_that_was_deleted_with_all_else_recomputed_and_signed_is_missed(
    store: Path, events: list[Event]
) -> None:
    with surgery(store) as database:
        delete(database, 21, 22)
        cover_up(database)
        sign_anew(database, LOG_KEY)
    assert verify_file(store, KEYS).verified
    found = crossed(store, events)
    assert found.first_bad_index == 21
    assert found.counts["leaf_differs"] == SIZE - 22
    assert found.counts["leaf_missing"] == 1
    result = verified(store, store.parent / "audit.log")
    assert "fork" in result.kinds, "the checkpoints of before stand in the annotations"
    assert result.first_bad_index == 20, "the last checkpoint that holds is of 20 leaves"


def test_a_leaf_that_was_rewritten_with_all_else_recomputed_and_signed_is_named(
    store: Path, events: list[Event]
) -> None:
    with surgery(store) as database:
        body = dict(parse_leaf(raw_leaf(database, 21)).body) | {"user": "mallory@example.org"}
        put_leaf(database, 21, render_leaf(body).raw)
        cover_up(database)
        sign_anew(database, LOG_KEY)
    assert verify_file(store, KEYS).verified
    found = crossed(store, events)
    assert found.counts == {"leaf_differs": 1}
    (named,) = found.findings
    assert named.index == 21
    assert "which has another hash in the record" in named.sentence


def test_a_leaf_that_was_put_in_is_unwitnessed(tmp_path: Path) -> None:
    store = build_record(tmp_path / "record.db", size=20, signed=())
    events = events_of(store)
    with surgery(store) as database:
        forged = decision(99, time=moment(9, milliseconds=70), name="forged", allowed=True, violations=[])
        insert_at(database, 20, forged)
        cover_up(database)
    found = crossed(store, events)
    assert found.counts == {"unwitnessed": 1}
    assert found.first_bad_index == 20
    assert "ml/forged" in found.findings[0].sentence


def test_a_record_that_was_cut_back_is_found_by_annotations_and_by_their_checkpoints(
    store: Path, events: list[Event], tmp_path: Path
) -> None:
    yesterday = build_record(tmp_path / "yesterday.db", size=15, signed=(10,))
    result = verified(yesterday, write_log(store.parent / "audit.log", events))
    assert "rolled_back" in result.kinds
    assert result.crosscheck is not None
    assert result.crosscheck.counts["leaf_missing"] == SIZE - 15
    assert result.first_bad_index == 15


def test_many_findings_are_counted_and_the_first_are_shown(store: Path, events: list[Event]) -> None:
    events += [
        {**without_marks(events[21]), "objectRef": {**events[21]["objectRef"], "name": f"hidden-{n}"}}
        for n in range(50)
    ]
    found = crossed(store, events)
    assert found.counts == {"unasked": 50}
    assert len(found.findings) == 10
    assert "and 40 more of unasked" in list(found.lines())
    assert json.loads(json.dumps(found.render()))["counts"] == {"unasked": 50}


def test_a_damaged_line_is_a_finding_and_a_torn_end_is_a_note(store: Path, events: list[Event]) -> None:
    path = write_log(store.parent / "audit.log", events)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"Event","apiVe')
    result = verified(store, path)
    assert result.verified
    assert result.crosscheck is not None
    assert result.crosscheck.notes == ("1 files end within a line, which was passed over",)
    path.write_bytes(b"not json\n" + whole)
    result = verified(store, path)
    assert result.kinds == ("witness_damaged",)


@pytest.mark.parametrize("content", [b"", b"\n", b'{"kind":"Event"}\n', b"\x1f\x8bgarbage"])
def test_a_log_that_says_nothing_is_no_comparison(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(content)
    with Witness(KEYS, kinds={}) as witness, pytest.raises(InputError):
        witness.load([path])


def test_a_second_webhook_of_ours_may_not_have_refused(store: Path, events: list[Event]) -> None:
    event = copy.deepcopy(events[21])
    refused = {key: value for key, value in events[20]["annotations"].items() if key.startswith(WEBHOOK)}
    event["annotations"] |= {f"second.{key}": value for key, value in refused.items()}
    with surgery(store) as database:
        body = dict(parse_leaf(raw_leaf(database, 20)).body) | {"name": event["objectRef"]["name"]}
        put_leaf(database, 20, render_leaf(body).raw)
        cover_up(database)
        sign_anew(database, LOG_KEY)
    changed = events_of(store)
    changed[21]["annotations"] |= {
        f"second.{key}": value for key, value in changed[20]["annotations"].items() if key.startswith(WEBHOOK)
    }
    del changed[20]
    assert crossed(store, changed).counts == {"refused_admitted": 1}


def test_a_generated_name_stands_for_any(store: Path, events: list[Event]) -> None:
    event = event_of(
        decision(21, time=moment(21)),
        index=21,
        leaf_hash=bytes.fromhex(events[21]["annotations"][f"{WEBHOOK}/leaf-hash"][7:]),
    )
    event["objectRef"].pop("name")
    events[21] = event
    assert crossed(store, events).counts == {}
