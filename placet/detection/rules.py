"""The tables of ``detection`` in the policy data, made ready to look things up in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.detection.words import Names, Phrases, fold, split_words

OFF: Final = "off"


@dataclass(frozen=True, slots=True)
class Rules:
    """What is looked for.

    Attributes:
        kinds: ``group/Kind`` -> ``serves`` | ``hint`` | ``ends`` | ``template``.
        images: phrases of image references: ``server`` | ``hint``.
        companions: phrases that void them.
        commands: phrases of command lines: ``server`` | ``idle``.
        arguments: names of options, and ends of values.
        environment: ``model`` | ``runtime`` | ``client``.
        resources: extended resources.
        mounts: paths.
        probes: paths.
        words: phrases in names.
    """

    kinds: Mapping[str, str]
    images: Phrases
    companions: Phrases
    commands: Phrases
    arguments: Names
    environment: Names
    resources: Names
    mounts: Names
    probes: Names
    words: Phrases


def read_rules(raw: Mapping[str, Any]) -> Rules:
    """Make the tables of policy data, which its schema has checked, ready."""
    table = {
        name: {key: meaning for key, meaning in entries.items() if meaning != OFF} for name, entries in raw.items()
    }
    return Rules(
        kinds=table["kinds"],
        images=_phrases(table["images"]),
        companions=_phrases(table["companions"]),
        commands=Phrases({key: (fold(key).split(), meaning) for key, meaning in table["commands"].items()}),
        arguments=Names(table["arguments"]),
        environment=Names(table["environment"]),
        resources=Names(table["resources"]),
        mounts=_paths(table["mounts"]),
        probes=_paths(table["probes"]),
        words=_phrases(table["words"]),
    )


def _phrases(table: Mapping[str, str]) -> Phrases:
    return Phrases({key: (split_words(key), meaning) for key, meaning in table.items()})


def _paths(table: Mapping[str, str]) -> Names:
    return Names({**table, **{f"{path}/*": meaning for path, meaning in table.items()}})
