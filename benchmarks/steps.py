"""CPU by step: named functions are watched from outside, each for its own time without that of the steps inside it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

# step -> where the functions are looked up when they are called: ``module:name`` or ``module:class.name``
STEPS: Final[dict[str, tuple[str, ...]]] = {
    "parse the review": ("webhook.admission:parse_review",),
    "find the uid": ("placet.record:LogRecorder.find",),
    "read the workload, project": ("placet.decide:read_or_excuse", "placet.decide:read_workload"),
    "keyring and revocations from files": ("placet.trust:FileTrust.load",),
    "ask for the model": ("placet.record:LogRecorder.model_seen",),
    "read envelopes": ("placet.approvals.signed:parse_annotation",),
    "verify signatures": ("placet.approvals.signed:check_signature_once",),
    "read statements": (
        "placet.approvals.verify:_read_statement",
        "placet.evidence.verify:_read_evidence",
    ),
    "hold evidence against the request": ("placet.judge:check_evidence",),
    "hold approvals against the request": ("placet.judge:check_approvals",),
    "score": ("placet.judge:collect_facts", "placet.judge:assess", "placet.judge:digest_of_inputs"),
    "policy input": ("placet.policy.wasm:render_document",),
    "policies (Wasm)": ("placet.policy.guest:Guest.evaluate",),
    "policy answer": ("placet.policy.wasm:parse_decision",),
    "attachments": ("placet.decide:_attachments",),
    "record: body": ("placet.record:render_record",),
    "record: leaf": ("placet.audit.log:render_leaf",),
    "record: append": ("placet.audit.log:AuditLog.append",),
    "record: commit": ("placet.audit.stores.sqlite_transaction:SqliteTransaction.commit",),
    "record: newest checkpoint": ("placet.audit.log:AuditLog.latest_checkpoint",),
    "answer": ("webhook.admission:render_review",),
}


class Steps:
    """A clock for each step of one thread.

    Attributes:
        spent_ns: step -> nanoseconds of CPU.
    """

    def __init__(self) -> None:
        self.spent_ns: dict[str, int] = {}
        self._running: list[str] = []
        self._since = 0

    @classmethod
    @contextlib.contextmanager
    def watched(cls) -> Iterator[Self]:
        """Watch every step until the block ends."""
        steps = cls()
        with contextlib.ExitStack() as stack:
            for name, places in STEPS.items():
                for place in places:
                    owner, attribute = _find(place)
                    original = getattr(owner, attribute)
                    setattr(owner, attribute, steps.watch(name, original))
                    stack.callback(setattr, owner, attribute, original)
            yield steps

    def watch(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted."""

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                return function(*args, **kwargs)

        return watched

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what happens in the block, steps inside it left out."""
        self._switch()
        self._running.append(name)
        try:
            yield
        finally:
            self._switch()
            self._running.pop()

    def _switch(self) -> None:
        now = time.thread_time_ns()
        if self._running:
            name = self._running[-1]
            self.spent_ns[name] = self.spent_ns.get(name, 0) + now - self._since
        self._since = now


def _find(place: str) -> tuple[Any, str]:
    module, _, path = place.partition(":")
    *owners, attribute = path.split(".")
    found: Any = importlib.import_module(module)
    for owner in owners:
        found = getattr(found, owner)
    getattr(found, attribute)  # a step that was renamed is told, not measured as nothing
    return found, attribute
