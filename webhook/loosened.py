"""Changes that let more through, of the parts of a configuration that are more than a list of settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from placet.text import clip

# Of an entry of `kinds`: what is read at fewer places, or leaves out more, lets more through.
_LEAVE_OUT: Final = ("ungoverned", "resources", "defaults")
_TAKE_IN: Final = ("metadata", "whole", "images")
# A shape finds images, and leaves out what a Pod may change freely: neither more of them nor fewer is plainly stricter.
_EITHER_WAY: Final = ("pod_templates", "pod_specs", "containers", "replicas")
_CANARIES: Final = "canary.namespaces."
_LONGEST: Final = 80


class Loosened(NamedTuple):
    """A key that lets more through, and its values as text."""

    key: str
    before: str
    after: str


def find_looser_kinds(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Iterator[Loosened]:
    """Entries of the kind registry that govern less than they did.

    A kind that has no entry any more is refused as unknown, and one that is new was: neither is looser.

    Args:
        before: ``kinds`` of the policy data; None for a release without them.
        after: the same, now.
    """
    for name, old in sorted((before or {}).items()):
        new = after.get(name)
        if new is None:
            continue
        for key in sorted((*_LEAVE_OUT, *_TAKE_IN, *_EITHER_WAY)):
            was, now = _texts(old.get(key)), _texts(new.get(key))
            if (key in _LEAVE_OUT and now <= was) or (key in _TAKE_IN and was <= now) or was == now:
                continue
            yield Loosened(f"kinds.{name}.{key}", _shown(was - now), _shown(now - was))
        if new.get("images_elsewhere") and not old.get("images_elsewhere"):
            yield Loosened(f"kinds.{name}.images_elsewhere", "false", "true")


def find_lost_canaries(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Loosened]:
    """Namespaces into which no canary is sent any more, or one that is expected to be judged otherwise.

    Args:
        before: settings, by flat key.
        after: the same, now.
    """
    for key in sorted(before):
        if key.startswith(_CANARIES) and after.get(key) != before[key]:
            yield Loosened(key, str(before[key]), str(after.get(key, "")))


def _texts(value: Any) -> frozenset[str]:
    return frozenset(one if isinstance(one, str) else json.dumps(one, sort_keys=True) for one in value or ())


def _shown(texts: frozenset[str]) -> str:
    """What only one of the two sides has; cut, since 64 of them have to find room in a leaf."""
    return clip(",".join(sorted(texts)), _LONGEST)
