"""Policies and policy data that are not in force yet, and what they say to an input of the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import wasmtime

from placet.canonical import Digest, parse_json, render_canonical
from placet.errors import EngineError, FormatError
from placet.policy.bundle import WASM, Bundle, parse_manifest
from placet.policy.data import PolicyData
from placet.policy.decision import PolicyDecision, Violation, parse_decision
from placet.policy.guest import Guest
from placet.policy.upgrade import upgrade_document
from placet.policy.wasm import MAX_FUEL, find_module

_MAX_DATA_BYTES: Final = 1024 * 1024
_MAX_STEPS: Final = 8
_GUARD: Final = "admission.main"
_OLD_INPUT: Final = "schema_unknown"
# What the guard of the policies refuses is a fault of what they were given, and no answer about the workload; an
# environment that they don't know is one.
_NO_ANSWER: Final = frozenset({_OLD_INPUT, "data_unknown", "rules_missing"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is tried, in bytes that another process can be given.

    Attributes:
        manifest: of the bundle.
        wasm: the compiled policies.
        data: canonical bytes of the merged policy data.
        effective_time_s: seconds since 1970 UTC of the day whose rules are tried; None for that of each decision.
    """

    manifest: bytes = field(repr=False)
    wasm: bytes = field(repr=False)
    data: bytes = field(repr=False)
    effective_time_s: int | None = None

    @classmethod
    def of(cls, bundle: Bundle, data: PolicyData) -> Candidate:
        """A bundle of a folder with policy data that were merged and checked.

        Raises:
            EngineError: ``bundle_invalid``.
        """
        return cls(bundle.load_manifest(), bundle.load_file(WASM), render_canonical(data.value), data.effective_time_s)

    def at_time(self, moment: datetime | None) -> Candidate:
        """The same, tried with the rules that are in force at a moment."""
        return Candidate(self.manifest, self.wasm, self.data, None if moment is None else int(moment.timestamp()))

    @property
    def bundle(self) -> Bundle:
        """What the manifest says.

        Raises:
            EngineError: ``bundle_invalid``.
        """
        return parse_manifest(self.manifest, folder=Path())

    @property
    def name(self) -> dict[str, Any]:
        """What tells it from others: digests of all that it is."""
        return {
            "revision": self.bundle.revision,
            "manifest": str(Digest.of(self.manifest)),
            "wasm": str(Digest.of(self.wasm)),
            "data_digest": str(Digest.of(self.data)),
            "effective_time_s": self.effective_time_s,
        }


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a candidate says to one input.

    Attributes:
        decision: as a gate would read it; None where a gate would refuse for want of one.
        fault: why there is none, a sentence; "" where there is one.
        incomparable: why the answer is none to what was recorded: a code of the guard, or ``older_input``; "" where it
            is one.
        unknown: members that the candidate reads and the recorded input does not have.
        fault_code: code of the fault; "" where there is none.
    """

    decision: PolicyDecision | None
    fault: str = ""
    incomparable: str = ""
    unknown: tuple[str, ...] = ()
    fault_code: str = ""

    @property
    def allowed(self) -> bool:
        """What a gate would make of it."""
        return self.decision is not None and self.decision.allowed

    @property
    def codes(self) -> tuple[str, ...]:
        """``rule/code`` of what refuses, sorted, each once."""
        return () if self.decision is None else named(self.decision.violations)

    @property
    def tolerated(self) -> tuple[str, ...]:
        """Rules that would refuse but for their mode, or the day that they are announced for."""
        return () if self.decision is None else self.decision.tolerated


def named(violations: tuple[Violation, ...]) -> tuple[str, ...]:
    """``rule/code`` of each, sorted, each once."""
    return tuple(sorted({f"{one.rule}/{one.code}" for one in violations}))


class CandidateJudge:
    """A candidate made ready once for many inputs. One thread at a time has it."""

    def __init__(self, candidate: Candidate) -> None:
        """Compile it and give it its data.

        Raises:
            EngineError: it can't be run.
        """
        bundle = candidate.bundle
        if bundle.files.get(WASM) != Digest.of(candidate.wasm):
            raise EngineError("the candidate's policy.wasm is not that of its manifest", code="bundle_invalid")
        self._bundle = bundle
        self._wasm = candidate.wasm
        self._data_digest = str(Digest.of(candidate.data))
        self._data = render_canonical({"placet": self._stamp(candidate)})
        self._guest: Guest | None = self._start()
        self._old: set[str] = set()  # versions of inputs that it does not know

    def judge(self, raw: bytes, document: Mapping[str, Any]) -> Opinion:
        """Judge an input that was recorded.

        Args:
            raw: its canonical bytes, which are given as they are where the candidate knows their version.
            document: the same, read.
        """
        unknown: tuple[str, ...] = ()
        for _ in range(_MAX_STEPS):
            opinion = None
            if str(document.get("schema")) not in self._old:
                opinion = self._ask(raw, str(document["uid"]))
                if opinion.incomparable != _OLD_INPUT:
                    return _mark(opinion, unknown)
                self._old.add(str(document.get("schema")))
            later = upgrade_document(document)
            if later is None:
                return opinion or Opinion(None, incomparable=_OLD_INPUT)
            document, unknown = later.document, (*unknown, *later.unknown)
            raw = render_canonical(document)
        return Opinion(None, incomparable=_OLD_INPUT)

    def _ask(self, raw: bytes, uid: str) -> Opinion:
        guest, self._guest = self._guest or self._start(), None  # after an error it is not used again
        try:
            value = guest.evaluate(self._bundle.entry_point, raw, fuel=MAX_FUEL)
            self._guest = guest
            decision = parse_decision(
                value, uid=uid, data_digest=self._data_digest, expected_rules=len(self._bundle.rules)
            )
        except EngineError as exc:
            return Opinion(None, f"{exc} ({exc.code})", fault_code=exc.code)
        except (wasmtime.WasmtimeError, IndexError, ValueError, OverflowError) as exc:  # an answer beyond its memory
            return Opinion(None, f"the policies can't be run: {type(exc).__name__}", fault_code="engine_aborted")
        guarded = {one.code for one in decision.violations if one.rule == _GUARD} & _NO_ANSWER
        return Opinion(decision, incomparable=min(guarded, default=""))

    def _stamp(self, candidate: Candidate) -> dict[str, Any]:
        """What an engine gets at ``data.placet``: as ``PolicyData.stamped`` makes it."""
        try:
            value = dict(parse_json(candidate.data, max_bytes=_MAX_DATA_BYTES))
        except (FormatError, TypeError, ValueError) as exc:
            raise EngineError(f"the policy data can't be read: {exc}", code="policy_data_invalid") from exc
        value.pop("detection", None)
        stamps: dict[str, Any] = {"digest": self._data_digest, "expected_rules": len(self._bundle.rules)}
        if candidate.effective_time_s is not None:
            stamps["effective_time_s"] = candidate.effective_time_s
        return {**value, **stamps}

    def _start(self) -> Guest:
        guest = Guest(*find_module(self._wasm), self._data)
        if self._bundle.entry_point not in guest.entry_points:
            raise EngineError(f"the policies have no entry point {self._bundle.entry_point}", code="bundle_invalid")
        return guest


def _mark(opinion: Opinion, unknown: tuple[str, ...]) -> Opinion:
    if not unknown:
        return opinion
    incomparable = opinion.incomparable or "older_input"
    return Opinion(opinion.decision, opinion.fault, incomparable, unknown, opinion.fault_code)
