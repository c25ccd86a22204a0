"""Decisions of weeks, made by the real gate on a real record, and what everybody knew who was there.

>>> make_traffic(desk, 300, seed=7)[0].roles
frozenset({'technical', 'security'})

What is known of each is what was put into it: who signed, where it goes, whether it was there before. What policies
make of that, a test computes from these alone.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from tests.simulators.cases import CaseDesk
from tests.simulators.gate import example, review

ALL: Final = frozenset({"technical", "security", "business", "executive"})
TWO: Final = frozenset({"technical", "security"})
THREE: Final = TWO | {"business"}
PLACES: Final = (("ml-serving", "llama"), ("team-a", "mistral"), ("team-b", "qwen"))
_SIGNED: Final = (
    (),
    ("technical",),
    ("technical", "security"),
    ("technical", "security", "business"),
    ("technical", "security", "business"),
    ("technical", "security", "business", "executive"),
)
_CARRIED: Final = 0.2
_LASTING: Final = 20  # manifests that are signed anew, so that no approval has ended


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a decision.

    Attributes:
        uid: of the request.
        namespace, name, model: of the workload.
        roles: that signed for it.
        carried: whether it changes nothing that is governed.
    """

    uid: str
    namespace: str
    name: str
    model: str
    roles: frozenset[str]
    carried: bool


def make_traffic(
    desk: CaseDesk,
    count: int,
    *,
    seed: int = 1,
    every: timedelta = timedelta(minutes=7),
    fresh: int = _LASTING,
    tell: Callable[[int], None] = lambda _done: None,
    note: Callable[[Known], None] = lambda _known: None,
) -> list[Known]:
    """Let the gate decide so many reviews; one in five is an update that changes nothing.

    Args:
        desk: whose clock goes on.
        count: decisions.
        seed: of what is asked.
        every: time between two.
        fresh: decisions between two signings of the same manifest.
        tell: told how many there are.
        note: told of each before the gate is asked, for whoever goes on after the process was killed.
    """
    dice = random.Random(seed)
    signed: dict[tuple[int, int], tuple[int, dict[str, Any]]] = {}
    made = []
    for number in range(count):
        place, roles = dice.randrange(len(PLACES)), dice.randrange(len(_SIGNED))
        held = signed.get((place, roles))
        anew = held is None or number - held[0] > fresh * len(PLACES) * len(_SIGNED)
        if held is None or anew:
            held = signed[place, roles] = number, _sign(desk, place, roles)
        carried = dice.random() < _CARRIED and not anew  # what is signed anew is also asked for anew
        asked = _ask(held[1], carried=carried)
        namespace, model = PLACES[place]
        name, uid = held[1]["metadata"]["name"], asked["request"]["uid"]
        known = Known(uid, namespace, name, model, frozenset(_SIGNED[roles]), carried)
        note(known)
        desk.send(asked)
        made.append(known)
        desk.desk.now += every
        tell(len(made))
    return made


def _sign(desk: CaseDesk, place: int, roles: int) -> dict[str, Any]:
    namespace, model = PLACES[place]
    manifest = copy.deepcopy(example())
    manifest["metadata"] |= {"namespace": namespace, "name": f"{model}-{len(_SIGNED[roles])}-{roles}"}
    manifest["metadata"]["labels"]["placet.dev/model"] = model
    return desk.approve(manifest, *_SIGNED[roles])


def _ask(manifest: dict[str, Any], *, carried: bool) -> dict[str, Any]:
    if not carried:
        return review(manifest)
    touched = copy.deepcopy(manifest)
    touched["metadata"]["labels"]["team"] = "serving"
    return review(touched, old=manifest)


def expected_changes(known: list[Known], before: frozenset[str], after: frozenset[str]) -> Iterator[tuple[str, str]]:
    """What must be told of decisions for which ``before`` was required and ``after`` is: computed without a policy."""
    for one in known:
        if one.carried:  # asked for nothing that is new: only what it would take is another
            if before != after:
                yield one.uid, "roles"
        elif before <= one.roles and not after <= one.roles:
            yield one.uid, "newly_refused"
        elif after <= one.roles and not before <= one.roles:
            yield one.uid, "newly_admitted"
        elif before != after:
            yield one.uid, "roles"


def find_standing(known: list[Known], needed: Mapping[str, frozenset[str]]) -> dict[tuple[str, str], Known]:
    """Workload -> the decision by which it is admitted: the newest that looked at what it is made of."""
    found: dict[tuple[str, str], Known] = {}
    for one in known:
        key = one.namespace, one.name
        if (one.carried and key not in found) or (not one.carried and needed[one.uid] <= one.roles):
            found[key] = one
    return found
