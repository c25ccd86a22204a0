"""Verifying a store each way that there is: the quick one, the strict one, and with several processes' shares.

What is found must not hang on the way. Tests that tamper with a store verify it with this, and so hold all of them::

    from tests.simulators.bothways import verify_file
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any, Final
from unittest import mock

from placet.audit import forms, verify, workers
from placet.audit.findings import Verification
from placet.audit.location import StoreLocation
from placet.audit.note import VerifierKey
from placet.errors import PlacetError

# Leaves in a stretch: fewer than a small log has, so that it has right ones and wrong ones.
_STRETCHES: Final = (1, 4, 512)


def verify_file(path: StoreLocation, keys: Sequence[VerifierKey], **options: Any) -> Verification:
    """As ``placet.audit.verify.verify_file``, and the same whichever way the leaves were read."""
    strict = _strictly(path, keys, options)
    if "keep" in options or "progress" in options:
        return _answer(strict)  # they would be told several times
    for stretch in _STRETCHES:
        with mock.patch.object(verify, "STRETCH", stretch), mock.patch.object(forms, "PATIENCE", 0):
            quick = _outcome(path, keys, options)
        assert _comparable(quick) == _comparable(strict), f"in stretches of {stretch}"
    return _answer(strict)


class InProcess(Executor):
    """A pool whose one process is this one."""

    def submit(self, call: Any, /, *arguments: Any, **_named: Any) -> Future[Any]:
        """Do it at once."""
        done: Future[Any] = Future()
        done.set_result(call(*arguments))
        return done


def verify_shared(path: StoreLocation, keys: Sequence[VerifierKey], *, share: int, **options: Any) -> Verification:
    """As ``placet.audit.verify.verify_file`` with two jobs and shares of so many leaves, certified in this process."""
    open_workers = workers.open_workers
    with (
        mock.patch.object(workers, "ProcessPoolExecutor", return_value=InProcess()),
        mock.patch.object(verify, "open_workers", lambda *a, **named: open_workers(*a, **named, share=share)),
    ):
        return verify.verify_file(path, keys, jobs=2, **options)


def _strictly(path: StoreLocation, keys: Sequence[VerifierKey], options: dict[str, Any]) -> Verification | PlacetError:
    with mock.patch.object(verify, "certify", return_value=None), mock.patch.object(verify, "STRETCH", 10**9):
        return _outcome(path, keys, options)


def _outcome(path: StoreLocation, keys: Sequence[VerifierKey], options: dict[str, Any]) -> Verification | PlacetError:
    try:
        return verify.verify_file(path, keys, **options)
    except PlacetError as exc:
        return exc


def _comparable(outcome: Verification | PlacetError) -> object:
    if isinstance(outcome, PlacetError):
        return type(outcome), str(outcome), outcome.code
    # How far a damaged file can be read hangs on how many rows are asked for at once; what is found does not.
    damaged = any(finding.kind == "store_corrupt" for finding in outcome.findings)
    return (outcome.findings, outcome.verified) if damaged else outcome


def _answer(outcome: Verification | PlacetError) -> Verification:
    if isinstance(outcome, PlacetError):
        raise outcome
    return outcome
