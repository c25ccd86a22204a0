"""Write the golden files of the spool: a denial that waits, and the counts beside it, byte for byte.

python -m tests.golden.spool.build
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from placet.spool.denial import Denial, render_denial
from placet.spool.tally import Tally, TallyFile
from tests.simulators.tampering import decision, policy_input_of

FOLDER: Final = Path(__file__).resolve().parent
OUTAGE: Final = Tally(
    outage="0123456789abcdef",
    since="2026-11-22T18:00:00.000000Z",
    next=8,
    spooled=7,
    lost=2,
    set_aside=1,
    recorded=4,
    through=5,
    otherwise=({"uid": "uid-3", "index": 41},),
    otherwise_total=1,
)
NEWER: Final = Tally(outage="0123456789abcdef", since=OUTAGE.since, next=9, spooled=8, complete=False)


def waiting() -> Denial:
    """A denial with its attachment."""
    spooled = {"at": "2026-11-22T18:00:04.500000Z", "cause": "store_full"}
    return Denial(decision(4, spooled=spooled), {"input": policy_input_of(4)})


def files() -> dict[str, bytes]:
    """File name -> content. The tally has both its slots, the older one first written."""
    with tempfile.TemporaryDirectory() as folder:
        counts = TallyFile(Path(folder) / "tally")
        counts.save(OUTAGE)
        counts.save(NEWER)
        counts.close()
        tally = (Path(folder) / "tally").read_bytes()
    return {"0000000000000007.denial": render_denial(waiting()), "tally": tally}


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).write_bytes(content)
    print(f"wrote {len(files())} files to {FOLDER}", file=sys.stderr)  # noqa: T201 - a program
