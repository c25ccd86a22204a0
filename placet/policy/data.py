"""Policy data: the shipped defaults with an operator's file merged over them, and its digest."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event

from placet.canonical import MAX_DEPTH, Digest, render_canonical
from placet.change_calendar import ChangeCalendar, parse_calendar
from placet.errors import CanonicalError, EngineError, FormatError
from placet.evidence.claims import check_examples
from placet.evidence.kinds import EvidenceKinds, parse_evidence_kinds
from placet.kubeyaml import UnreadableError, parse_documents
from placet.policy.bundle import Bundle, shipped_bundle
from placet.policy.demands import fill_demands, find_nonsense
from placet.policy.odd_yaml import find_odd_line
from placet.policy.schema import bundle_validator, validator, validator_source
from placet.projection import Kinds, parse_kinds
from placet.settings_file import nearest_line

DATA_SCHEMA: Final = "placet.dev/policy-data/v1"
MAX_BYTES: Final = 256 * 1024
OVERLAY: Final = "overlay/"
"""Folder of a bundle with the data of the team that made it, over what ships."""
_BRACKET: Final = re.compile(r"[\[{\]}]")
_LINE_END: Final = re.compile(r"\r\n|[\n\r]")
_HINT: Final = "docs/policy-authors.md lists what a policy data file may say."


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of policy data.

    Attributes:
        name: for messages, as it was given.
        raw: unverified.
    """

    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class PolicyData:
    """Merged and checked policy data.

    Attributes:
        value: the data, without the stamps below.
        digest: of its canonical bytes; each decision echoes it.
        kinds: which objects are workloads, and how custom resources among them are read.
        evidence: the kinds of evidence that there are.
        calendar: change windows and freezes.
        bundle: the policies that they are for, whose defaults these are merged over.
        effective_time_s: seconds since 1970 UTC of the day whose rules are tried, instead of the request's; a gate has
            none. It is no part of the data: the digest is not over it.
    """

    value: Mapping[str, Any]
    digest: Digest
    kinds: Kinds
    evidence: EvidenceKinds
    calendar: ChangeCalendar
    bundle: Bundle = field(default_factory=shipped_bundle, repr=False)
    effective_time_s: int | None = None

    def stamped(self, *, expected_rules: int) -> dict[str, Any]:
        """What an engine gets at ``data.placet``: the data, its digest and the number of rules that must be judged.

        Not the tables of detection: they tell which requests are judged at all, no rule reads them, and they are most
        of the data. The digest is over them too.
        """
        judged = {key: value for key, value in self.value.items() if key != "detection"}
        trial = {} if self.effective_time_s is None else {"effective_time_s": self.effective_time_s}
        return {**judged, "digest": str(self.digest), "expected_rules": expected_rules, **trial}

    def at_time(self, moment: datetime | None) -> PolicyData:
        """The same data, judged with the rules that are in force at another moment; None for the request's.

        Nothing else is judged as of then: approvals and evidence hold, or don't, when they are asked for.
        """
        return replace(self, effective_time_s=None if moment is None else int(moment.timestamp()))


def load_policy_data(operator_file: Path | None, bundle: Bundle | None = None) -> PolicyData:
    """Read the bundle's defaults, by default those that ship, and the operator's YAML file over them.

    Mappings are merged by key, lists and scalars are replaced. A new environment must say everything.

    Raises:
        EngineError: ``policy_data_invalid``: unreadable, not YAML, an unknown key, a wrong value, or no environment;
            the message names the file and the place in it.
    """
    if operator_file is None:
        return merge_policy_data(b"", name="the shipped policy data", bundle=bundle)
    try:
        raw = operator_file.read_bytes()
    except OSError as exc:
        _refuse(str(operator_file), f"can't be read: {exc.strerror or exc}", exc)
    return merge_policy_data(raw, name=str(operator_file), bundle=bundle)


def merge_policy_data(raw: bytes, *, name: str, bundle: Bundle | None = None) -> PolicyData:
    """A bundle's defaults with an operator's YAML over them.

    Args:
        raw: the operator's file; empty for the defaults alone.
        name: of the file, for messages.
        bundle: whose defaults, schemas and rules; those that ship by default.

    Raises:
        EngineError: as :func:`load_policy_data`.
    """
    return merge_data_files([DataFile(name, raw)], bundle or shipped_bundle())


def merge_data_files(files: Sequence[DataFile], bundle: Bundle) -> PolicyData:
    """A bundle's defaults with several files over them, each over those before it.

    Args:
        files: non-empty.
        bundle: whose defaults, schemas and rules.

    Raises:
        EngineError: as :func:`load_policy_data`.
    """
    merged = _load_defaults(bundle)
    for file in files:
        given = parse_yaml(file.raw, name=file.name)
        if given is not None:
            _require_valid(given, "operator", bundle, [file])
            merged = _merge(merged, given)
    try:
        fill_demands(merged)
    except (KeyError, TypeError, AttributeError) as exc:
        raise _unfitting(bundle) from exc
    _require_valid(merged, "", bundle, files)
    _require_shapes(merged, bundle)
    _require_sense(merged, bundle, files)
    try:
        kinds = parse_kinds(merged["kinds"])
    except FormatError as exc:
        key = str(exc).partition(":")[0].removeprefix("kinds.").rpartition(".")[0]
        _refuse(_place(files, ("kinds", key)), str(exc), exc)
    try:
        evidence, calendar = parse_evidence_kinds(merged["evidence"]), parse_calendar(merged.get("change", {}))
        check_examples(evidence)
    except FormatError as exc:
        steps = str(exc).partition(":")[0].split(".")
        _refuse(_place(files, tuple(steps)), str(exc), exc)
    digest = Digest.of(render_canonical(merged))
    return PolicyData(value=merged, digest=digest, kinds=kinds, evidence=evidence, calendar=calendar, bundle=bundle)


def _require_sense(merged: Mapping[str, Any], bundle: Bundle, files: Sequence[DataFile]) -> None:
    """What a schema can't see: names that lead nowhere, and demands that nothing can meet."""
    known = {rule.id for rule in bundle.rules}
    for rule in merged["rules"]:
        if rule not in known:
            _refuse(_place(files, ("rules", rule)), f"rules: there is no rule {rule!r}{_suggest(rule, known)}")
    default = merged["namespaces"]["default_environment"]
    if default not in merged["environments"]:
        known_names = ", ".join(sorted(merged["environments"]))
        _refuse(
            _place(files, ("namespaces", "default_environment")),
            f"namespaces.default_environment: there is no environment {default!r}; known: {known_names}",
        )
    for found in find_nonsense(merged, bundle.rules):
        meant = _suggest(found.given, found.known) if found.given else ""
        _refuse(_place(files, found.steps), f"{'.'.join(found.steps)}: {found.sentence}{meant}")


def _require_shapes(merged: Mapping[str, Any], bundle: Bundle) -> None:
    """What this release reads has the shape that ships, whatever schema a bundle brings; further parts are its own.

    Raises:
        EngineError: ``bundle_invalid``.
    """
    if bundle == shipped_bundle():
        return
    ours = {key: value for key, value in merged.items() if key in validator_source("data")["properties"]}
    if not validator("data").is_valid(ours):
        raise _unfitting(bundle)


def _unfitting(bundle: Bundle) -> EngineError:
    return EngineError(
        f"the policy data that the bundle in {bundle.folder} brings are not what this release of placet reads",
        code="bundle_invalid",
        hint="A bundle adds parts of its own at the top; those that ship keep their shape.",
    )


def _load_defaults(bundle: Bundle) -> dict[str, Any]:
    """What a bundle brings along, made anew: whoever changes it changes nobody else's."""
    shipped = bundle == shipped_bundle()
    defaults: dict[str, Any] = json.loads(_render_shipped() if shipped else _render_defaults(bundle))
    return defaults


def default_files(bundle: Bundle) -> list[str]:
    """The files of a bundle whose data are merged, in this order: what ships, and over it what a team added."""
    return [name for folder in ("defaults/", OVERLAY) for name in sorted(bundle.files) if name.startswith(folder)]


@functools.cache
def _render_shipped() -> bytes:
    return _render_defaults(shipped_bundle())


def _render_defaults(bundle: Bundle) -> bytes:
    merged: dict[str, Any] = {"schema": DATA_SCHEMA}
    for name in default_files(bundle):
        # As kubectl reads YAML, which is much quicker; of these files the manifest holds every byte.
        try:
            (document,) = parse_documents(bundle.load_file(name))
            merged = _merge(merged, document.value)
        except (UnreadableError, ValueError, TypeError, AttributeError) as exc:
            raise EngineError(f"the bundle's {name} is no policy data", code="bundle_invalid") from exc
    return render_canonical(merged)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def parse_yaml(raw: bytes, *, name: str) -> Any:
    """Read one YAML 1.2 document of plain values; None when it is empty.

    Raises:
        EngineError: ``policy_data_invalid``: too large, not UTF-8, not YAML, too deep, a key twice, an alias, a date,
            a float.
    """
    if len(raw) > MAX_BYTES:
        _refuse(name, f"{len(raw)} bytes, more than the {MAX_BYTES} allowed")
    reader = YAML(typ="safe", pure=True)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        _refuse(f"{name}:{line}", "is not UTF-8", exc)
    _require_short_looks_ahead(text, name)
    try:
        _require_bounded(reader.parse(text), name)
        value = YAML(typ="safe", pure=True).load(text)
        render_canonical(value)
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        _refuse(f"{name}:{mark.line + 1}" if mark else name, f"is not YAML: {_reason(exc)}", exc)
    except YAMLError as exc:  # a character that YAML does not have
        line = text.count("\n", 0, getattr(exc, "position", 0)) + 1
        _refuse(f"{name}:{line}", f"is not YAML: {_first_lines(exc)}", exc)
    except (CanonicalError, RecursionError, ValueError, TypeError, AttributeError, LookupError, AssertionError) as exc:
        # ruamel's constructors let several builtin errors escape on odd scalars and tags
        line = find_odd_line(text)
        _refuse(f"{name}:{line}", f"holds something that is not plain data: {_first_lines(exc)}", exc)
    return value


def _require_short_looks_ahead(text: str, name: str) -> None:
    """What is open within a line is bounded before it is read: the parser looks at all of it for each further bracket.

    For the first bracket of a line may turn out to be a key, it reads up to 1,024 characters before it tells of any.
    """
    for number, line in enumerate(_LINE_END.split(text), 1):
        depth = 0
        for found in _BRACKET.finditer(line):
            depth += 1 if found[0] in "[{" else -1
            if depth > MAX_DEPTH:
                _refuse(f"{name}:{number}", f"is nested deeper than {MAX_DEPTH}")


def _require_bounded(events: Iterable[Event], name: str) -> None:
    """What costs much more than its bytes is refused while it is read: ruamel's time grows with the square of depth."""
    depth = 0
    for event in events:
        # A file of a few lines can expand to gigabytes through aliases; policy data needs none.
        if isinstance(event, AliasEvent):
            _refuse(f"{name}:{event.start_mark.line + 1}", "uses a YAML alias")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            _refuse(f"{name}:{event.start_mark.line + 1}", f"is nested deeper than {MAX_DEPTH}")


def _reason(exc: MarkedYAMLError) -> str:
    """What is wrong, without the values that ruamel quotes of a key that is given twice."""
    problem = str(exc.problem or exc.context or "")
    return " ".join(problem.partition(" with value ")[0].split())[:200]


def _first_lines(exc: BaseException) -> str:
    return re.sub(r"\s+", " ", str(exc))[:200]


def _require_valid(value: Any, definition: str, bundle: Bundle, files: Sequence[DataFile]) -> None:
    error = next(iter(bundle_validator(bundle, "data", definition).iter_errors(value)), None)
    if error is None:
        return
    where = ".".join(str(step) for step in error.instance_path)
    extra = error.kind.unexpected[:1] if error.kind.name == "additionalProperties" else []
    place = _place(files, (*error.instance_path, *extra))
    _refuse(place, f"{where}: {_sentence(error)}" if where else _sentence(error))


def _place(files: Sequence[DataFile], steps: tuple[str | int, ...]) -> str:
    """``data.yaml:7``: the line of what is wrong, in the last file that says most of it; a name alone without YAML."""
    found, deepest = files[-1].name, -1
    for file in files:
        try:
            (document,) = parse_documents(file.raw)
        except (UnreadableError, ValueError):
            continue
        if (depth := _depth(document.value, steps)) >= deepest:
            found, deepest = f"{file.name}:{nearest_line(document.lines, steps)}", depth
    return found


def _depth(value: Any, steps: tuple[str | int, ...]) -> int:
    """How many of the steps a document follows."""
    for at, step in enumerate(steps):
        if isinstance(value, list):
            value = dict(enumerate(value))
        if not isinstance(value, Mapping) or step not in value:
            return at
        value = value[step]
    return len(steps)


def _sentence(error: Any) -> str:
    kind = error.kind
    match kind.name:
        case "additionalProperties":
            (first, *_) = kind.unexpected
            return f"the key {first!r} is not known here{_suggest(first, _known_keys(error))}"
        case "required":
            return f"the key {kind.property!r} is missing"
        case "minItems" | "minProperties":
            return "must not be empty"
        case "not":
            return f"{json.dumps(error.instance)} is not taken here: everybody would be meant"
        case "enum" if isinstance(error.instance, str):
            options = ", ".join(json.dumps(option) for option in kind.options)
            return f"{json.dumps(error.instance)} is not one of {options}"
        case _:
            return str(error.message)


def _known_keys(error: Any) -> Iterable[str]:
    """Keys that an operator's file may have where an unknown one was found."""
    properties = validator_source("data")["$defs"]
    match [str(step) for step in error.instance_path]:
        case []:
            return tuple(properties["operator"]["properties"])
        case ["limits", "default"] | ["limits", _, _]:
            return tuple(properties["limit_table"]["properties"])
        case ["limits" | "change" | "rollback" | "residency" | "classifications" | "documents" | "licences" as part]:
            return tuple(properties[part]["properties"])
        case ["change", "ticket"]:
            return tuple(properties["change"]["properties"]["ticket"]["properties"])
        case ["change", "windows", _]:
            return tuple(properties["change_window"]["properties"])
        case ["change", "freezes", _]:
            return tuple(properties["change_freeze"]["properties"])
        case ["classifications", _]:
            return tuple(properties["classification"]["properties"])
        case ["environments", _]:
            return tuple(properties["environment"]["properties"])
        case ["detection"]:
            return tuple(properties["detection"]["properties"])
        case ["kinds", _]:
            return tuple(properties["kind"]["properties"])
        case ["evidence", _]:
            return tuple(properties["evidence_kind"]["properties"])
        case ["evidence", _, "claims", _]:
            return tuple(properties["claim"]["properties"])
        case ["namespaces"]:
            return tuple(properties["namespaces"]["properties"])
        case ["break_glass"]:
            return tuple(properties["break_glass"]["properties"])
        case ["namespaces", "labellers"]:
            return tuple(properties["namespaces"]["properties"]["labellers"]["properties"])
        case ["risk_approvals"]:
            return tuple(properties["risk_approvals"]["properties"])
        case _:
            return ("mode",)


def _suggest(given: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _refuse(name: str, fault: str, cause: BaseException | None = None) -> NoReturn:
    raise EngineError(f"{name}: {fault}", code="policy_data_invalid", hint=_HINT) from cause
