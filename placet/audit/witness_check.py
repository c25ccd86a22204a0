"""Have enough witnesses cosigned a checkpoint that holds?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from placet.audit.checkpoint import parse_checkpoint
from placet.audit.cosignature import Cosignature, WitnessKey, count_witnesses, verify_cosignatures
from placet.audit.findings import Findings, Verification
from placet.audit.note import parse_note
from placet.errors import FormatError, TamperError


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint that may carry cosignatures.

    Attributes:
        name: of its file.
        raw_note: the note; its log's signature was verified.
        held: whether the leaves that were verified bear it out.
    """

    name: str
    raw_note: bytes
    held: bool


def judge_witnesses(
    result: Verification, candidates: Sequence[Candidate], keys: Sequence[WitnessKey], threshold: int
) -> Verification:
    """The verification with what the witnesses say: a note where enough of them agree, else a finding.

    Cosignatures of the same text count together, whichever file they are in.

    Args:
        result: of the leaves.
        candidates: checkpoints that were looked at.
        keys: of the trusted witnesses.
        threshold: how many different ones have to have cosigned one checkpoint, 1 or more.
    """
    findings = Findings(list(result.findings), result.findings_total, result.first_bad_index)
    by_text: dict[str, list[Cosignature]] = {}
    for candidate in candidates:
        try:
            found = verify_cosignatures(candidate.raw_note, keys)
            text, _ = parse_note(candidate.raw_note)
        except FormatError:
            continue  # not the log's either, which is a finding already
        except TamperError as exc:
            findings.add("cosignature_invalid", f"{candidate.name}: {exc}")
            continue
        if candidate.held:
            by_text.setdefault(text, []).extend(found)
    enough = [
        (parse_checkpoint(text).size, found) for text, found in by_text.items() if count_witnesses(found) >= threshold
    ]
    notes = list(result.notes)
    if enough:
        size, found = max(enough, key=lambda one: one[0])
        names = ", ".join(sorted({one.witness.name for one in found}))
        latest = max(one.moment for one in found)
        notes.append(f"{size} leaves were cosigned by {names}, last at {latest.isoformat()}")
    else:
        most = max((count_witnesses(found) for found in by_text.values()), default=0)
        findings.add("witness_missing", f"{threshold} witnesses have to have cosigned one checkpoint, and {most} have")
    return replace(
        result,
        findings=tuple(findings.listed),
        findings_total=findings.total,
        first_bad_index=findings.first_index,
        notes=tuple(notes),
    )
