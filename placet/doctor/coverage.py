"""Whether every request that the gate should judge reaches it: entries, their rules and their selectors."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from placet.doctor.belonging import check_belonging
from placet.doctor.entries import ENVIRONMENT_LABEL, NAME_LABEL, Asked, Entry, keys_of
from placet.doctor.findings import Code, Finding
from placet.doctor.guard import check_guard
from placet.doctor.reading import Object, labels_of, name_of

SYSTEM_NAMESPACE: Final = "kube-system"
_OTHER: Final = "placet-doctor-other"
_MOST_TRIED: Final = 4096
_MOST_NAMED: Final = 5
_SHORTEST_S, _LONGEST_S, _DEFAULT_S = 3, 15, 10
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What coverage is judged from.

    Attributes:
        entries: of placet.
        namespaces: of the cluster.
        own: namespaces in which placet runs.
        asked: kinds of request that have to reach the gate, with the versions served; empty when not known.
        environments: of the policy data; None when not known.
        excluded: namespaces that are meant not to be governed, beside kube-system and ``own``.
        default: the environment of a Namespace that names none; "" when not known.
    """

    entries: Sequence[Entry]
    namespaces: Sequence[Object]
    own: Collection[str]
    asked: Mapping[Asked, Sequence[str]]
    environments: Collection[str] | None = None
    excluded: Collection[str] = ()
    default: str = ""

    @property
    def admitting(self) -> list[Entry]:
        """Entries that judge workloads."""
        return [entry for entry in self.entries if entry.environment is not None]

    def may_be_left_out(self, name: str) -> bool:
        """Whether a namespace is meant not to be governed."""
        return name == SYSTEM_NAMESPACE or name in self.own or name in self.excluded

    def covering(self, labels: Labels) -> list[Entry]:
        """Entries that select a namespace."""
        return [entry for entry in self.admitting if entry.selects(labels)]

    def ungoverned(self) -> list[str]:
        """Namespaces that no entry selects."""
        return [name_of(item) for item in self.namespaces if not self.covering(_labels(item))]

    def environment(self, namespace: str) -> str | None:
        """The environment by which a namespace is judged; None where nobody judges it."""
        for item in self.namespaces:
            if name_of(item) == namespace:
                covering = self.covering(_labels(item))
                return covering[0].environment if covering else None
        return None


def _labels(item: Object) -> Labels:
    return {**labels_of(item), NAME_LABEL: name_of(item)}


def check_coverage(seen: Coverage) -> Iterator[Finding]:
    """Every fault of the entries."""
    if not seen.entries:
        yield Finding(
            Code.NO_CONFIGURATION, "ValidatingWebhookConfigurations", "none asks on a path of placet (/v1/admit/...)"
        )
        return
    for entry in seen.entries:
        yield from check_entry(entry)
    servers = sorted({entry.server for entry in seen.entries})
    if len(servers) > 1:
        where = f"ValidatingWebhookConfiguration/{seen.entries[0].configuration}"
        yield Finding(Code.SERVERS_DIFFER, where, f"entries ask {', '.join(servers)}")
    yield from check_guard(seen.entries)
    if not seen.admitting:
        where = f"ValidatingWebhookConfiguration/{seen.entries[0].configuration}"
        yield Finding(Code.NO_ENTRY, where, "no entry asks on /v1/admit/...")
        return
    yield from check_rules(seen)
    yield from check_namespaces(seen)
    yield from check_selectors(seen)
    yield from check_environments(seen)


def check_entry(entry: Entry) -> Iterator[Finding]:
    """What is to be said of an entry by itself."""
    value = entry.value
    if entry.environment is None and not entry.guards:
        yield Finding(Code.PATH_UNKNOWN, entry.where, f"its path is {entry.path or 'not given'}")
    if value.get("failurePolicy") == "Ignore":
        yield Finding(Code.FAILS_OPEN, entry.where, "failurePolicy is Ignore")
    if entry.is_exact:
        yield Finding(Code.MATCHES_EXACTLY, entry.where, "matchPolicy is Exact")
    timeout = value.get("timeoutSeconds", _DEFAULT_S)
    if not isinstance(timeout, int) or not _SHORTEST_S <= timeout <= _LONGEST_S:
        yield Finding(Code.TIMEOUT_ODD, entry.where, f"timeoutSeconds is {timeout}")
    if value.get("sideEffects") != "NoneOnDryRun":
        yield Finding(Code.SIDE_EFFECTS_ODD, entry.where, f"sideEffects is {value.get('sideEffects')}")
    if keys_of(value.get("objectSelector")):
        keys = ", ".join(sorted(keys_of(value.get("objectSelector"))))
        yield Finding(Code.OBJECT_SELECTOR, entry.where, f"objectSelector looks at {keys}")
    # A guard has a condition of its own, which placet.doctor.guard knows.
    for condition in () if entry.guards else value.get("matchConditions") or ():
        said = f"condition {condition.get('name')}: {condition.get('expression')}"
        yield Finding(Code.MATCH_CONDITION, entry.where, said)


def check_rules(seen: Coverage) -> Iterator[Finding]:
    """Requests that no rule names, in each set of entries that a namespace may have."""
    for covering in _covering_sets(seen):
        where = f"ValidatingWebhookConfiguration/{covering[0].configuration} " + ", ".join(
            entry.name for entry in covering
        )
        missing: list[str] = []
        for asked, versions in seen.asked.items():
            heard = [one for one in versions if any(entry.matches(asked, one, versions) for entry in covering)]
            deaf = [one for one in versions if one not in heard]
            if not heard:
                missing.append(asked.shown)
            elif deaf:
                yield Finding(Code.VERSION_UNMATCHED, where, f"{asked.shown} in version {', '.join(deaf)}")
        if missing:
            yield Finding(Code.RULES_MISSING, where, f"no rule names {', '.join(missing)}")


def _covering_sets(seen: Coverage) -> list[list[Entry]]:
    tried = [*(_labels(item) for item in seen.namespaces), *(_possible(seen.admitting) or ())]
    found = {tuple(id(entry) for entry in seen.covering(labels)): seen.covering(labels) for labels in tried}
    return [covering for covering in found.values() if covering]


def check_namespaces(seen: Coverage) -> Iterator[Finding]:
    """Namespaces as they are, that no entry or several entries select."""
    for item in seen.namespaces:
        name, covering = name_of(item), seen.covering(_labels(item))
        if not covering and not seen.may_be_left_out(name):
            label = labels_of(item).get(ENVIRONMENT_LABEL)
            said = f"its environment label is {label}" if label else "it has no environment label"
            yield Finding(Code.NAMESPACE_UNCOVERED, f"Namespace/{name}", f"no entry selects it; {said}")
        if _is_twice(seen, covering):
            names = ", ".join(entry.name for entry in covering)
            yield Finding(Code.NAMESPACE_TWICE, f"Namespace/{name}", f"selected by {names}")


def _is_twice(seen: Coverage, covering: Sequence[Entry]) -> bool:
    """Whether some request is put to two entries; entries whose rules share nothing do not overlap."""
    if len(covering) < 2:  # noqa: PLR2004 - two entries
        return False
    if not seen.asked:
        return True
    return any(
        sum(any(entry.matches(asked, one, versions) for one in versions) for entry in covering) > 1
        for asked, versions in seen.asked.items()
    )


def check_selectors(seen: Coverage) -> Iterator[Finding]:
    """Namespaces that there could be: with every label value that a selector names, another one, and none."""
    where = f"ValidatingWebhookConfiguration/{seen.admitting[0].configuration}"
    yield from _check_names(seen, where)
    tried = _possible(seen.admitting)
    if tried is None:
        yield Finding(Code.NOT_READ, where, "its selectors name more labels than are tried")
        return
    gaps = [labels for labels in tried if not seen.covering(labels)]
    plain = [labels for labels in gaps if set(labels) <= {ENVIRONMENT_LABEL, NAME_LABEL}]
    if plain:
        shown = " or ".join(_shown(labels) for labels in plain[:_MOST_NAMED])
        more = f" ({len(plain)} values in all)" if len(plain) > _MOST_NAMED else ""
        yield Finding(Code.SELECTOR_GAP, where, f"no entry selects a namespace with {shown}{more}")
    # A label that has to be there is a gap; one whose value takes a namespace out is an opt-out.
    keys = sorted({key for labels in gaps for key in labels} - {ENVIRONMENT_LABEL, NAME_LABEL})
    keys = [key for key in keys if _takes_out(seen, gaps, key)]
    if keys:
        said = f"labels that take a namespace out, whatever its environment: {', '.join(keys)}"
        yield Finding(Code.SELECTOR_OPT_OUT, where, said)
    twice = next((labels for labels in tried if _is_twice(seen, seen.covering(labels))), None)
    if twice is not None:
        names = ", ".join(entry.name for entry in seen.covering(twice))
        yield Finding(Code.SELECTOR_OVERLAP, where, f"{names} select a namespace with {_shown(twice)}")


def _check_names(seen: Coverage, where: str) -> Iterator[Finding]:
    """Names that selectors leave out, of namespaces that are not there yet."""
    named = {
        name for entry in seen.admitting for name in keys_of(entry.value.get("namespaceSelector")).get(NAME_LABEL, ())
    }
    for name in sorted(named - {name_of(item) for item in seen.namespaces}):
        if not seen.may_be_left_out(name) and not seen.covering({NAME_LABEL: name}):
            yield Finding(Code.SELECTOR_GAP, where, f"no entry would select a namespace of the name {name}")


def _takes_out(seen: Coverage, gaps: Sequence[Labels], key: str) -> bool:
    without = ({name: value for name, value in labels.items() if name != key} for labels in gaps if key in labels)
    return any(seen.covering(labels) for labels in without)


def _possible(entries: Sequence[Entry]) -> list[Labels] | None:
    """Label sets that tell all namespaces apart which the selectors tell apart; None where there are too many."""
    keys: dict[str, set[str]] = {ENVIRONMENT_LABEL: set()}
    for entry in entries:
        for key, values in keys_of(entry.value.get("namespaceSelector")).items():
            keys.setdefault(key, set()).update(values)
    keys.pop(NAME_LABEL, None)
    choices: list[list[tuple[str, str | None]]] = [
        [(key, None), *((key, value) for value in sorted(values)), (key, _OTHER)] for key, values in keys.items()
    ]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MOST_TRIED:
        return None
    return [
        {NAME_LABEL: _OTHER, **{key: value for key, value in labels if value is not None}}
        for labels in itertools.product(*choices)
    ]


def _shown(labels: Labels) -> str:
    said = [f"{key}={value}" for key, value in sorted(labels.items()) if key != NAME_LABEL]
    return ", ".join(said).replace(_OTHER, "(any other value)") or "no label"


def check_environments(seen: Coverage) -> Iterator[Finding]:
    """Entries against the environments that they stand for, and against those of the policy data."""
    served = {entry.environment for entry in seen.admitting if entry.environment}
    labels = {
        str(value)
        for entry in seen.admitting
        for one in (entry.value.get("namespaceSelector") or {}).get("matchExpressions") or ()
        if one.get("key") == ENVIRONMENT_LABEL and one.get("operator") == "In"
        for value in one.get("values") or ()
    }
    for name in sorted(served | labels):
        for entry in seen.covering({ENVIRONMENT_LABEL: name, NAME_LABEL: _OTHER}):
            if entry.environment != name:
                said = f"namespaces labelled {ENVIRONMENT_LABEL}={name} are judged as {entry.environment}"
                yield Finding(Code.ENVIRONMENT_DIFFERS, entry.where, said)
    if seen.environments is None:
        return
    if seen.default:
        yield from check_belonging(seen.admitting, seen.namespaces, seen.environments, seen.default)
    for entry in seen.admitting:
        if entry.environment not in seen.environments:
            known = ", ".join(sorted(seen.environments))
            said = f"its path says {entry.environment}; the policy data know {known}"
            yield Finding(Code.ENVIRONMENT_UNKNOWN, entry.where, said)
    for name in sorted(set(seen.environments) - served):
        yield Finding(
            Code.ENVIRONMENT_WITHOUT_ENTRY, f"environment {name}", "the policy data have it, and no entry does"
        )
