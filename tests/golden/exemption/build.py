"""Golden files of exemptions: fixed keys, fixed time, the same bytes in every run.

python -m tests.golden.exemption.build
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from placet.exemptions.statement import render_exemption
from tests.simulators.desk import ApprovalDesk, sample_workload
from tests.simulators.exemptions import add_exempters, exemption_of, sign_exemption

FOLDER: Final = Path(__file__).parent


def build() -> Mapping[str, bytes]:
    """Name of each file -> its bytes."""
    desk = ApprovalDesk.standard()
    add_exempters(desk)
    said = exemption_of(desk, sample_workload())
    return {"payload.json": render_exemption(said), "good.dsse.json": sign_exemption(desk, said)}


if __name__ == "__main__":
    for name, content in build().items():
        (FOLDER / name).write_bytes(content)
