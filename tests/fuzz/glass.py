"""Target: break-glass tokens and reviews, as they come and signed by those who may.

A token that counts says exactly what the desk's workload is; nothing else that two persons sign may count.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

from placet.approvals.rejections import RejectionCode
from placet.approvals.revocations import Revocations
from placet.breakglass.review import VerifiedReview, check_review
from placet.breakglass.state import Use, parse_event
from placet.breakglass.statement import (
    REVIEW_PAYLOAD_TYPE,
    TOKEN_PAYLOAD_TYPE,
    parse_break_glass_review,
    parse_token,
    render_break_glass_review,
    render_token,
)
from placet.breakglass.verify import VerifiedToken, check_token
from placet.canonical import parse_json
from placet.errors import FormatError
from tests.fuzz.documents import TESTS
from tests.fuzz.target import require
from tests.golden.breakglass.build import WORKLOAD, context_of, glass_desk
from tests.simulators.desk import ApprovalDesk

_GOLDEN: Final = TESTS / "golden" / "breakglass"
_CODES: Final = {"statement_malformed", "statement_type", "predicate_type"}


@functools.cache
def _desk() -> ApprovalDesk:
    return glass_desk()


@functools.cache
def _keyring() -> Any:
    return _desk().keyring


@functools.cache
def _use() -> Use:
    leaf = (_GOLDEN / "used.leaf").read_bytes().partition(b"\n")[2]
    found = parse_event(parse_json(leaf, max_bytes=32768, max_depth=16))
    require(isinstance(found, Use), "the golden leaf is a use")
    return found  # type: ignore[return-value]


def run_break_glass(raw: bytes) -> None:
    """A token or a review: the statement, the annotation, and the bytes signed by all who may."""
    _read(raw, parse_token, render_token)
    _read(raw, parse_break_glass_review, render_break_glass_review)
    text = raw.decode("utf-8", "replace")
    for annotation in (text, _desk().seal_as(raw, TOKEN_PAYLOAD_TYPE, by=["gina", "hugo"])):
        _check_token(annotation)
    for annotation in (text, _desk().seal_as(raw, REVIEW_PAYLOAD_TYPE, by=["rita"])):
        _check_review(annotation)
    alone = check_token(
        _desk().seal_as(raw, TOKEN_PAYLOAD_TYPE, by=["gina"]),
        keyring=_keyring(),
        revocations=Revocations.none(),
        context=context_of(_desk()),
    )
    require(not isinstance(alone, VerifiedToken), "nobody breaks the glass alone")


def _read(raw: bytes, parse: Callable[[bytes], Any], render: Callable[[Any], bytes]) -> None:
    try:
        statement = parse(raw)
    except FormatError as error:
        require(error.code in _CODES, "a refusal has a documented code")
        return
    require(parse(render(statement)) == statement, "a statement that is written again is the same")


def _check_token(annotation: str) -> None:
    context = context_of(_desk())
    found = check_token(annotation, keyring=_keyring(), revocations=Revocations.none(), context=context)
    if not isinstance(found, VerifiedToken):
        require(found.refusal.code in set(RejectionCode), "a refusal has a documented code")
        return
    token, workload = found.statement, WORKLOAD
    require(len({one.person.casefold() for one in found.signers}) >= 2, "two persons")
    require(token.workload == "Deployment/llama" and token.namespace == "ml", "one workload")
    require((token.cluster, token.environment) == (context.cluster, context.environment), "one place")
    require(token.issued_at <= context.now < token.expires, "now")
    require(token.expires - token.issued_at <= timedelta(hours=4), "not for long")
    require(token.replicas is not None and token.replicas >= (workload.replicas or 0), "not more than was signed")
    projections = [one.digest for one in token.subjects if one.name == "projection"]
    require(projections == [workload.projection.digest], "this content")
    require(bool(token.reason.strip()), "for a reason")


def _check_review(annotation: str) -> None:
    desk, use = _desk(), _use()
    later = desk.now + timedelta(hours=2)
    found = check_review(
        annotation, uses=[use], keyring=_keyring(), cluster=desk.cluster, environment=desk.environment, now=later
    )
    if not isinstance(found, VerifiedReview):
        require(found.code in set(RejectionCode), "a refusal has a documented code")
        return
    require(found.signer.person == "p-rita", "by who may")
    require(found.statement.tokens[use.token_id] == use.token, "of this token")
    require(use.time <= found.statement.issued_at <= later, "after the use")


def seeds() -> Iterator[bytes]:
    """Golden statements and annotations."""
    for name in ("token", "review"):
        yield (_GOLDEN / f"{name}.statement.json").read_bytes()
        yield (_GOLDEN / f"{name}.annotation").read_bytes()


RUNS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]]] = {
    "breakglass": (run_break_glass, seeds),
}
