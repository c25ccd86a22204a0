"""Write the golden files of break-glass: tokens, reviews and their leaves, with fixed keys and fixed times.

python -m tests.golden.breakglass.build
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

from placet.approvals.envelope import parse_annotation
from placet.approvals.rejections import Refusal
from placet.approvals.revocations import Revocations
from placet.audit.record import render_leaf
from placet.breakglass.record import read_envelope
from placet.breakglass.review import check_review
from placet.breakglass.state import Use, parse_event, render_reviewed, render_use
from placet.breakglass.verify import TokenContext, VerifiedToken, check_token
from placet.errors import PlacetError
from tests.simulators.desk import ApprovalDesk, sample_workload

FOLDER: Final = Path(__file__).resolve().parent
WORKLOAD: Final = sample_workload()


def glass_desk() -> ApprovalDesk:
    """The desk with those who may break the glass, and who may review."""
    desk = ApprovalDesk.standard()
    desk.glass_keepers()
    return desk


def context_of(desk: ApprovalDesk) -> TokenContext:
    """The workload as it is deployed at the desk's time."""
    return TokenContext(
        environment=desk.environment,
        cluster=desk.cluster,
        workload=WORKLOAD,
        level="critical",
        requester="deployer@example.org",
        now=desk.now,
        longest=timedelta(hours=4),
    )


def files() -> dict[str, bytes]:
    """File name -> content."""
    desk = glass_desk()
    statement = desk.token(WORKLOAD)
    annotation = desk.break_glass(statement)
    token = check_token(annotation, keyring=desk.keyring, revocations=Revocations.none(), context=context_of(desk))
    if not isinstance(token, VerifiedToken):
        raise PlacetError(token.refusal.sentence)
    used = render_use(
        token,
        WORKLOAD,
        moment=desk.now,
        due=desk.now + timedelta(hours=24),
        decision_id="uid-1",
        requester="deployer@example.org",
        overridden={"approvals.required/role_missing"},
        envelope=read_envelope(annotation),
    )
    use = parse_event(used)
    if not isinstance(use, Use):
        raise PlacetError("the use can't be read back")
    desk.now += timedelta(hours=1)
    reviewed = desk.glass_review(statement)
    review = check_review(
        reviewed, uses=[use], keyring=desk.keyring, cluster=desk.cluster, environment=desk.environment, now=desk.now
    )
    if isinstance(review, Refusal):
        raise PlacetError(review.sentence)
    body = render_reviewed(
        review, cluster=desk.cluster, moment=desk.now, decision_id="uid-2", envelope=read_envelope(reviewed)
    )
    return {
        "token.annotation": annotation.encode(),
        "token.statement.json": parse_annotation(annotation).payload,
        "review.annotation": reviewed.encode(),
        "review.statement.json": parse_annotation(reviewed).payload,
        "used.leaf": render_leaf(used).raw,
        "reviewed.leaf": render_leaf(body).raw,
    }


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).write_bytes(content)
    print(f"wrote {len(files())} files to {FOLDER}", file=sys.stderr)  # noqa: T201 - a program
