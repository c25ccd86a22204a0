"""Whether an object serves a model, by what it runs: a guess that is explained, from tables in the policy data.

It holds against mistakes, not against an author who hides what runs: a renamed image with a renamed program looks like
any other. Only ``coverage: strict`` governs what nobody recognises. ``docs/detection.md`` tells how it decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from placet.detection.containers import Pod, find_pods, find_texts
from placet.detection.rules import Rules, read_rules
from placet.detection.signs import Sign, Surroundings, find_fetched, find_mentions, find_words, judge_container
from placet.detection.words import fold

__all__ = ["NOTHING", "Answer", "Reason", "Rules", "Verdict", "detect", "read_rules"]

Answer = Literal["serves_model", "suspected", "no"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an object counts as what it does.

    Attributes:
        table: of ``detection`` in the policy data.
        key: of that table.
        container: name of the container that shows it, hostile text; "" for the object as a whole.
    """

    table: str
    key: str
    container: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What detection makes of an object.

    Attributes:
        answer: whether it serves a model.
        reasons: why; empty for ``no``, unless its kind alone says so.
    """

    answer: Answer
    reasons: tuple[Reason, ...] = ()


NOTHING: Final = Verdict("no")
_HAS: Final = "has:"


def detect(obj: Mapping[str, Any], rules: Rules) -> Verdict:
    """Say whether an object serves a model.

    The answer for a pod template is that for the Pods made of it: nothing counts that stands in the one alone.

    Args:
        obj: parsed JSON of any kind; hostile. A field of a type that the API does not know is no sign of anything.
        rules: the tables.
    """
    key, meaning = _kind(obj, rules)
    by_kind = (Reason("kinds", key),)
    if meaning == "serves" or (meaning.startswith(_HAS) and _has(obj, meaning.removeprefix(_HAS))):
        return Verdict("serves_model", by_kind)
    if meaning == "template":
        return Verdict("no", by_kind)
    shown = list(_judge_pods(find_pods(obj), rules, ends=meaning == "ends", names=_names(obj, rules)))
    served = tuple(reason for answer, reason in shown if answer == "serves_model")
    suspected = tuple(reason for answer, reason in shown if answer == "suspected")
    if served:
        return Verdict("serves_model", served)
    if meaning == "hint":
        words = sorted({sign.key for text in find_texts(obj) for sign in find_mentions(text, rules)})
        if suspected or words:
            return Verdict("serves_model", (*by_kind, *(suspected or (Reason("words", words[0]),))))
        return Verdict("suspected", by_kind)
    return Verdict("suspected", suspected) if suspected else NOTHING


def _judge_pods(
    pods: list[Pod], rules: Rules, *, ends: bool, names: frozenset[Sign]
) -> Iterator[tuple[Answer, Reason]]:
    for pod in pods:
        around = Surroundings(ends or pod.ends, names, find_fetched(pod, rules))
        for container in pod.containers:
            shown = judge_container(container, rules, around)
            for sign in shown.serves:
                yield "serves_model", _reason(sign, container.name)
            for sign in shown.suspected:
                yield "suspected", _reason(sign, container.name)


def _reason(sign: Sign, container: str) -> Reason:
    return Reason(sign.table.partition("/")[0], sign.key, container)


def _kind(obj: Mapping[str, Any], rules: Rules) -> tuple[str, str]:
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        return "", ""
    group, slash, _ = version.rpartition("/")
    key = f"{group}/{kind}" if slash else kind
    return key, rules.kinds.get(key, "")


def _has(obj: Mapping[str, Any], path: str) -> bool:
    value: Any = obj
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value is not None


def _names(obj: Mapping[str, Any], rules: Rules) -> frozenset[Sign]:
    """Signs in the object's name, which the Pods that are made of it begin with."""
    metadata = obj.get("metadata")
    for field in ("name", "generateName"):
        name = metadata.get(field) if isinstance(metadata, dict) else None
        if isinstance(name, str) and name:
            return find_words(fold(name), rules)
    return frozenset()
