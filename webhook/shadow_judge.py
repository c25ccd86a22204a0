"""A process of its own that judges live reviews by a candidate: it is told inputs, and tells answers, a line each.

It has a lower priority, a memory and a time of its own, no keys, no record and no environment. Whatever the policies do
in it, the gate that asked loses no more than this process.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

from placet.canonical import Digest
from placet.errors import PlacetError
from placet.policy.data import PolicyData
from placet.rehearsal.candidate import Candidate, CandidateJudge
from placet.rehearsal.share import parse_input
from placet.shadow.answer import Answer
from webhook.candidate import TIME_S, describe_fault, limit_memory, try_out

NICENESS: Final = 10
MAX_LINE: Final = 2 << 20
"""Of one input with its line end; a record keeps none of more than 1 MiB."""
_LONGEST_S: Final = 30  # of one judgement, of CPU; the gate gives up before


def main(arguments: list[str]) -> int:
    """The number of an open socket, a folder, and the operator's policy data or nothing."""
    number, folder, operator_file = arguments
    os.nice(NICENESS)
    limit_memory()
    _allow_cpu(TIME_S)
    with socket.socket(fileno=int(number)) as line, line.makefile("rwb") as talk:
        try:
            data = try_out(Path(folder), Path(operator_file) if operator_file else None)
            judge = CandidateJudge(Candidate.of(data.bundle, data))
        except PlacetError as error:
            _say(talk, describe_fault(error))
            return 0
        _say(talk, _introduce(data))
        while raw := talk.readline(MAX_LINE):
            _say(talk, _judge(judge, raw.rstrip(b"\n")))
    return 0


def _introduce(data: PolicyData) -> dict[str, str]:
    manifest = data.bundle.load_manifest()
    return {"revision": data.bundle.revision, "manifest": str(Digest.of(manifest)), "data": str(data.digest)}


def _judge(judge: CandidateJudge, raw: bytes) -> dict[str, Any]:
    _allow_cpu(_LONGEST_S)
    begun_s = time.process_time()
    document = parse_input(raw)
    answer = Answer.failed("input_unreadable") if document is None else _ask(judge, raw, document)
    return {**answer.render(), "cpu_s": time.process_time() - begun_s}


def _ask(judge: CandidateJudge, raw: bytes, document: dict[str, Any]) -> Answer:
    opinion = judge.judge(raw, document)
    if opinion.decision is None or opinion.incomparable:
        return Answer.failed(opinion.incomparable or opinion.fault_code)
    return Answer.of(opinion.decision)


def _allow_cpu(seconds: float) -> None:
    """Seconds from now on; the kernel ends a process that takes more. Nobody else would, were the gate gone."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft if most == resource.RLIM_INFINITY else min(soft, most), most))


def _say(talk: Any, value: dict[str, Any]) -> None:
    talk.write(json.dumps(value).encode() + b"\n")
    talk.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
