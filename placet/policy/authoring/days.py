"""The day that a rule is announced for, in seconds where an author tests and checks too, as in a built bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from placet.errors import InputError
from placet.policy.authoring.announced import write_seconds
from placet.policy.authoring.findings import Finding
from placet.policy.authoring.tree import Tree

_DAY: Final = re.compile(r"^#\s+effective_on:.*\n", re.MULTILINE)
_TRIAL: Final = "placet_test/effective.json"


def with_days(tree: Tree, moment: datetime | None = None) -> Tree:
    """The tree as it is compiled: each day in seconds, on its own line, so that all lines are what they were.

    Args:
        tree: as it was read; without what ``find_day_faults`` names.
        moment: the day that is tried, for ``tests.fixtures.placet``; None for the time of each test's request.
    """
    sources = {
        name: replace(source, text=in_seconds(name, source.text)) if source.own else source
        for name, source in tree.sources.items()
    }
    trial = {} if moment is None else {_TRIAL: json.dumps({"effective_time_s": int(moment.timestamp())}).encode()}
    return replace(tree, sources=sources, config={**tree.config, **trial})


def in_seconds(name: str, text: str) -> str:
    """A source with the day in seconds.

    Raises:
        InputError: ``effective_on_invalid``.
    """
    written = write_seconds(name, text.encode()).decode() if _is_policy(name) else text
    return text if written == text else _DAY.sub("", written, count=1)


def find_day_faults(tree: Tree) -> Iterator[Finding]:
    """Days that are none, and rules that do not give ``admission.main`` what their METADATA say."""
    for source in tree.own:
        try:
            in_seconds(source.name, source.text)
        except InputError as error:
            _, line, message = str(error).removeprefix(source.name).split(":", 2)
            yield Finding(source.shown, int(line), error.code, message.strip())


def _is_policy(name: str) -> bool:
    return name.startswith("admission/") and not name.endswith("_test.rego")
