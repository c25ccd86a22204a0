"""Policy inputs of earlier versions, as later policies read them.

What a gate judged years ago is in the record in the version of then. To ask later policies about it, what was not
asked then has to be said to be not known; it never becomes a fact. So an input that was made from an earlier one says
which of its members nobody looked up, and no answer to it is shown as if it were one to what was recorded. There is no
way back: what later inputs say, earlier policies can't weigh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_V1: Final = "placet.dev/policy-input/v1"
_V2: Final = "placet.dev/policy-input/v2"

# Version -> the next one, and what that one has more, each member saying that nothing is known.
_STEPS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    _V1: (
        _V2,
        {
            "requester_groups": [],
            "replicas": {"known": False, "ceiling": 0},
            "evidence": [],
            "evidence_rejected": [],
            "history": {"known": False, "admitted": []},
            "calendar": {"windows": [], "freezes": []},
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Upgraded:
    """An input of a later version.

    Attributes:
        document: the input.
        unknown: members that it has more, about which nothing is known; sorted.
    """

    document: Mapping[str, Any]
    unknown: tuple[str, ...]


def upgrade_document(document: Mapping[str, Any]) -> Upgraded | None:
    """The same input in the next version; None where there is no later one that is known.

    Args:
        document: a policy input, as recorded. A member of the later version that it has already stays as it is.
    """
    step = _STEPS.get(str(document.get("schema")))
    if step is None:
        return None
    version, more = step
    unknown = tuple(sorted(more.keys() - document.keys()))
    return Upgraded({**more, **document, "schema": version}, unknown)
