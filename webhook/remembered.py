"""How the memory of look-ups stands, as readiness and metrics tell it.

A memory that was never complete keeps the gate from being ready, so that a start does not send every look-up of a
cluster to the API server at once, and a missing right is seen. One that has become old does not: the API server is
asked then.
"""

from __future__ import annotations

from typing import Final

from placet.informer.informer import Informer
from webhook.readiness import Finding

PART: Final = "lookups"
WARMING: Final = "lookup_cache_warming"
UNLISTED: Final = "lookup_cache_unlisted"
STALE: Final = "lookup_cache_stale"


def find_problem(informer: Informer | None) -> Finding | None:
    """What keeps the gate from being ready."""
    if informer is None:
        return None
    waiting = [one for one in informer.standings() if not one.listed]
    if not waiting:
        return None
    names = ", ".join(one.resource for one in waiting)
    why = next((f": {one.problem}" for one in waiting if one.problem), "")
    return Finding(UNLISTED if why else WARMING, f"no complete list of {names} was read yet{why}")


def find_warning(informer: Informer | None) -> Finding | None:
    """What does not."""
    if informer is None:
        return None
    old = [one for one in informer.standings() if one.listed and one.age_s > informer.max_age_s]
    if not old:
        return None
    names = ", ".join(one.resource for one in old)
    why = next((f": {one.problem}" for one in old if one.problem), "")
    sentence = f"what is remembered of {names} may be older than {informer.max_age_s:g} s, so the API server is asked"
    return Finding(STALE, f"{sentence}{why}")
