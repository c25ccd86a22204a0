"""A recorded decision, judged again: the recorded input, by the recorded policies, with the recorded policy data.

Nothing here depends on the policies, schemas or defaults of the release that does it: what it takes is in the log. How
the policies are run is version 1 of docs/formats-audit.md#policy, which later releases go on to offer. No clock, no
file and no network has a part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import wasmtime

from placet.canonical import Digest, parse_json, render_canonical
from placet.errors import CanonicalError, EngineAnswerError, EngineError, FormatError
from placet.policy.bundle import WASM, parse_manifest
from placet.policy.guest import Guest
from placet.policy.wasm import MAX_FUEL, find_module

EVALUATION: Final = "placet.dev/policy-evaluation/v1"
"""Wasm by OPA's ABI 1.2 without host builtins; what ``_data_document`` makes of the policy data at ``data.placet``."""
MAX_LISTED: Final = 32
"""A record lists so many violations at most."""
_MAX_DATA_BYTES: Final = 1024 * 1024
_NOT_JUDGED: Final = "detection"
_GATES_OWN: Final = "gate."

Code = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Policies:
    """What a decision was judged by, as attachments of the log have it.

    Attributes:
        manifest: of the bundle.
        wasm: the compiled policies.
        data: canonical bytes of the merged policy data.
        evaluation: how they are run, ``EVALUATION``.
    """

    manifest: bytes
    wasm: bytes
    data: bytes
    evaluation: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the policies say.

    Attributes:
        violations: rule and code of each, sorted.
        tolerated: rules that did not pass and refuse nothing, sorted.
    """

    allowed: bool
    mode: str
    violations: tuple[Code, ...]
    required_roles: tuple[str, ...]
    granted_roles: tuple[str, ...]
    tolerated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that the record says otherwise than the replay.

    Attributes:
        member: of the record, such as ``allowed``.
        recorded: its value there.
        replayed: what comes out now.
    """

    member: str
    recorded: Any
    replayed: Any

    def render(self) -> dict[str, Any]:
        """JSON value."""
        return {"member": self.member, "recorded": self.recorded, "replayed": self.replayed}


class Replayer:
    """Policies of a record, made ready once for many inputs. One thread at a time has it.

    Example:
        >>> Replayer(policies).judge(document).allowed
        True
    """

    def __init__(self, policies: Policies) -> None:
        """Compile the policies and give them their data.

        Raises:
            EngineError: they can't be run.
        """
        if policies.evaluation != EVALUATION:
            raise EngineError(f"policies that are run as {policies.evaluation[:80]!r}", code="evaluation_unknown")
        bundle = parse_manifest(policies.manifest, folder=Path())
        if bundle.files.get(WASM) != Digest.of(policies.wasm):
            raise EngineError("the compiled policies are not those of their manifest", code="bundle_invalid")
        self.revision = bundle.revision
        self._entry_point = bundle.entry_point
        self._data_digest = str(Digest.of(policies.data))
        self._wasm = policies.wasm
        self._data = _data_document(policies.data, rules=len(bundle.rules))
        self._guest: Guest | None = self._start()

    def judge(self, document: bytes, *, uid: str | None = None) -> Answer:
        """Judge an input again.

        Args:
            document: canonical bytes, as recorded.
            uid: of the request, where whoever asks has read the input; else it is read here.

        Raises:
            EngineError: the policies give no answer to this input.
        """
        uid = _read_uid(document) if uid is None else uid
        guest, self._guest = self._guest or self._start(), None  # after an error it is not used again
        try:
            value = guest.evaluate(self._entry_point, document, fuel=MAX_FUEL)
        except (wasmtime.WasmtimeError, IndexError, ValueError, OverflowError) as exc:  # an answer beyond its memory
            raise EngineError(f"the policies can't be run: {exc}", code="engine_aborted") from exc
        self._guest = guest
        return _read_answer(value, uid, data_digest=self._data_digest)

    def _start(self) -> Guest:
        guest = Guest(*find_module(self._wasm), self._data)
        if self._entry_point not in guest.entry_points:
            raise EngineError(f"the policies have no entry point {self._entry_point}", code="bundle_invalid")
        return guest


def replay(document: bytes, policies: Policies) -> Answer:
    """Judge an input again.

    Args:
        document: canonical bytes, as recorded.
        policies: of the record.

    Raises:
        EngineError: the policies can't be run, or give no answer to this input.
    """
    return Replayer(policies).judge(document)


def find_differences(body: Mapping[str, Any], answer: Answer) -> tuple[Difference, ...]:
    """What a decision's record says otherwise than the policies do.

    Where the gate itself refused, or a break-glass token let in what the policies refused, the record says so, and the
    policies need only have said what the record says that they said.

    Args:
        body: of the decision's leaf.
        answer: of :func:`replay`.
    """
    violations = _codes(body.get("violations"))
    own = tuple(code for code in violations if not code[0].startswith(_GATES_OWN))
    allowed, let_in = body.get("allowed"), body.get("break_glass") is not None
    compared: list[tuple[str, Any, Any]] = [
        ("mode", body.get("mode"), answer.mode),
        ("required_roles", _texts(body.get("required_roles")), list(answer.required_roles)),
        ("granted_roles", _texts(body.get("granted_roles")), list(answer.granted_roles)),
    ]
    if allowed is True and let_in:
        compared.append(("break_glass", False, answer.allowed))  # what the policies let in needs no token
        noted = set(_codes(body.get("notes")))
        if len(noted) < MAX_LISTED:
            expected = [code for code in answer.violations if code in noted]
            compared.append(("notes", _shown(expected), _shown(answer.violations)))
    elif allowed is True or own:
        compared.append(("allowed", allowed, answer.allowed))
        most = len(own) if len(violations) >= MAX_LISTED else None
        compared.append(("violations", _shown(own), _shown(answer.violations[:most])))
    elif not violations:
        compared.append(("allowed", allowed, "refused without a reason"))
    return tuple(Difference(*one) for one in compared if one[1] != one[2])


def _data_document(raw: bytes, *, rules: int) -> bytes:
    """What the policies are given as data: all but the tables of detection, its digest, and the number of rules."""
    try:
        value = parse_json(raw, max_bytes=_MAX_DATA_BYTES)
        judged = {key: item for key, item in dict(value).items() if key != _NOT_JUDGED}
        return render_canonical({"placet": {**judged, "digest": str(Digest.of(raw)), "expected_rules": rules}})
    except (FormatError, CanonicalError, TypeError, ValueError) as exc:
        raise EngineError(f"the policy data can't be read: {exc}", code="policy_data_invalid") from exc


def _read_uid(document: bytes) -> str:
    try:
        uid = dict(parse_json(document, max_bytes=_MAX_DATA_BYTES)).get("uid")
    except (FormatError, TypeError, ValueError) as exc:
        raise EngineError("the input can't be read", code="input_invalid") from exc
    if not isinstance(uid, str) or not uid:
        raise EngineError("the input names no request", code="input_invalid")
    return uid


def _read_answer(value: Any, uid: str, *, data_digest: str) -> Answer:
    """As much of a decision document as every version of it has."""
    if not isinstance(value, dict) or value.get("uid") != uid:
        _refuse("is about another request")
    if value.get("data_digest") != data_digest:
        _refuse("is by other policy data")
    allowed, mode = value.get("allowed"), value.get("mode")
    if not isinstance(allowed, bool) or not isinstance(mode, str):
        _refuse("is no decision")
    violations = _codes(value.get("violations"))
    if allowed == bool(violations):
        _refuse("contradicts itself")
    required, granted, tolerated = (
        _texts(value.get(name)) for name in ("required_roles", "granted_roles", "tolerated")
    )
    return Answer(allowed, mode, tuple(sorted(violations)), tuple(required), tuple(granted), tuple(sorted(tolerated)))


def _codes(entries: object) -> tuple[Code, ...]:
    found = [(entry.get("rule"), entry.get("code")) for entry in _listed(entries) if isinstance(entry, Mapping)]
    return tuple((rule, code) for rule, code in found if isinstance(rule, str) and isinstance(code, str))


def _texts(entries: object) -> list[str]:
    return [entry for entry in _listed(entries) if isinstance(entry, str)]


def _listed(entries: object) -> list[Any]:
    return list(entries) if isinstance(entries, list | tuple) else []


def _shown(codes: Any) -> list[str]:
    return [f"{rule}/{code}" for rule, code in codes]


def _refuse(fault: str) -> NoReturn:
    raise EngineAnswerError(f"the answer of the policies {fault}")
