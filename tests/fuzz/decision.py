"""Target: the whole decision, from a path and a body to an answer, held against the oracle."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, Final

from placet.decide import Deadline
from placet.errors import ReviewError
from tests.fuzz.oracle import find_reason
from tests.fuzz.target import WrongAllowError, require
from tests.fuzz.world import ENVIRONMENT, NAMESPACE, World, open_world
from webhook.admission import INTERNAL_MESSAGE
from webhook.admission import review as answer

_ENOUGH_S: Final = 600.0
_LONGEST_WARNING: Final = 120


def run_decision(raw: bytes) -> None:
    """The first line is the environment of the path, the rest the body."""
    line, _, body = raw.partition(b"\n")
    decide(line.decode("utf-8", "replace"), body, open_world())


def decide(environment: str, body: bytes, world: World) -> bool:
    """Whether it is allowed, if all promises about the answer hold.

    Raises:
        BrokenPromiseError: an answer that is none, or an allow without a reason.
    """
    try:
        answered = answer(world.gate, body, environment=environment, deadline=Deadline(_ENOUGH_S))
    except ReviewError as error:
        require(400 <= error.status < 500, "what can't be answered is the caller's fault")
        return False
    response = answered["response"]
    require(response["uid"] == json.loads(body)["request"]["uid"], "an answer is to the question")
    require(answered["apiVersion"] == "admission.k8s.io/v1", "in the version that was asked in")
    _require_showable(response)
    if not response["allowed"]:
        return False
    if find_reason(environment, body, world) is None:
        message = f"allowed in {environment!r} without a reason that the oracle knows"
        raise WrongAllowError(message)
    return True


def _require_showable(response: dict[str, Any]) -> None:
    """What goes to terminals and logs holds no control character, and nothing that turns text around."""
    message = response.get("status", {}).get("message", "")
    require(message != INTERNAL_MESSAGE, "nothing crashes inside")
    require(_is_showable(message.replace("\n", " ")), "a refusal can be shown")
    for warning in response.get("warnings", ()):
        require(len(warning) <= _LONGEST_WARNING and _is_showable(warning), "a warning can be shown")
    for key in response.get("auditAnnotations", {}):
        require("/" not in key, "keys of audit annotations have no slash")
    json.dumps(response).encode()


def _is_showable(text: str) -> bool:
    return not any(
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or character in "\u202e\u2066" for character in text
    )


def reviews() -> Iterator[bytes]:
    """Every seed of the world, in the environment that its approvals are for, and one beside it."""
    world = open_world()
    for asked, _ in world.seeds.values():
        yield f"{ENVIRONMENT}\n{json.dumps(asked, separators=(',', ':'))}".encode()
    for name in ("create", "undo"):
        yield f"staging\n{json.dumps(world.seeds[name][0])}".encode()
        yield f"staging\n{json.dumps(world.seeds[name][0]).replace(NAMESPACE, 'ml-staging')}".encode()


RUNS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]]] = {
    "decision": (run_decision, reviews)
}
