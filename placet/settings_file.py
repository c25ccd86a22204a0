"""A file of settings with the line of every key: what is wrong in it is named where it stands.

No message quotes a value: somebody may have put a secret where none belongs.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from placet.errors import ConfigError
from placet.kubeyaml import UnreadableError, parse_documents

MAX_BYTES: Final = 1024 * 1024
_KEYS: Final = "docs/formats.md lists every key, and `placet config example` prints them all."
_TYPES: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """One mapping that was read, not yet checked against anything.

    Attributes:
        file: as it was named.
        value: JSON values.
        lines: path in ``value`` -> 1-based line.
    """

    file: Path
    value: dict[str, Any] = field(repr=False)
    lines: Mapping[_Steps, int] = field(repr=False)

    def place(self, steps: _Steps) -> str:
        """``placet.yaml:7``: where the key stands, or what is nearest above it."""
        return f"{self.file}:{nearest_line(self.lines, steps)}"

    def sentence(self, steps: _Steps, fault: str) -> str:
        """``placet.yaml:7: server.port: must be at most 65535``."""
        where = ".".join(str(step) for step in steps)
        return f"{self.place(steps)}: {where}: {fault}" if where else f"{self.place(steps)}: {fault}"

    def error(self, steps: _Steps, fault: str, *, hint: str = "") -> ConfigError:
        """What to raise for a key that can't be used."""
        return ConfigError(self.sentence(steps, fault), hint=hint)


def nearest_line(lines: Mapping[_Steps, int], steps: _Steps) -> int:
    """The line of a path, or of what is nearest above it; 1 where nothing is known."""
    for length in range(len(steps), 0, -1):
        if line := lines.get(steps[:length]):
            return line
    return min(lines.values(), default=1)


def load_settings(file: Path, schema: Mapping[str, Any]) -> Settings:
    """Read a YAML or JSON file that holds one mapping, and check it against a JSON schema.

    Raises:
        ConfigError: unreadable, not UTF-8, not YAML, a key twice, no mapping, or not what the schema says. Every fault
            that the schema finds is named, each with its line.
    """
    settings = parse_settings(_load(file), file=file)
    problems = tuple(_find_faults(settings, schema))
    if problems:
        raise ConfigError("; ".join(problems), hint=_KEYS, problems=problems)
    return settings


def parse_settings(raw: bytes, *, file: Path) -> Settings:
    """The one mapping in the bytes of a file.

    Raises:
        ConfigError: as ``load_settings`` does, but for the schema.
    """
    try:
        documents = parse_documents(raw)
    except UnreadableError as exc:
        raise ConfigError(f"{file}:{exc.line}: not YAML that placet takes: {exc}") from exc
    if not documents:
        raise ConfigError(f"{file}:1: the file is empty", hint="`placet config example` prints one to start from.")
    if len(documents) > 1:
        raise ConfigError(f"{file}:{documents[1].line}: a second document; one file holds one configuration")
    (document,) = documents
    if not isinstance(document.value, dict):
        raise ConfigError(f"{file}:{document.line}: must be a mapping: key, colon, value", hint=_KEYS)
    return Settings(file, document.value, document.lines or {(): document.line})


def _load(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else "not a path"
        raise ConfigError(
            f"{file}: can't be read: {why}",
            code="config_unreadable",
            hint="placet init writes a configuration to start from.",
        ) from exc
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{file}: more than {MAX_BYTES} bytes")
    return raw


def _find_faults(settings: Settings, schema: Mapping[str, Any]) -> Iterator[str]:
    from jsonschema_rs import validator_for  # noqa: PLC0415 - slow to import, and not needed to show a help text

    for error in validator_for(dict(schema)).iter_errors(settings.value):
        steps = tuple(error.instance_path)
        if error.kind.name == "additionalProperties":
            kind: Any = error.kind
            for name in kind.unexpected:
                yield settings.sentence((*steps, name), f"there is no such key{_suggest(name, steps, schema)}")
        else:
            yield settings.sentence(steps, _fault(error.kind, error.message))


def _fault(kind: Any, message: str) -> str:
    """What is wrong, without the value that is."""
    match kind.name:
        case "required":
            return f"the key {kind.property} is missing"
        case "type":
            return f"must be {' or '.join(_TYPES.get(name, name) for name in kind.types)}"
        case "enum":
            texts = " or ".join(f'"{option}"' for option in kind.options)
            return f"must be {texts}" + (", in quotes" if any(_is_number(option) for option in kind.options) else "")
        case "minimum" | "exclusiveMinimum":
            return f"must be at least {kind.limit}"
        case "maximum" | "exclusiveMaximum":
            return f"must be at most {kind.limit}"
        case "minItems" | "minLength" | "minProperties":
            return "must not be empty"
        case "uniqueItems":
            return "says the same thing twice"
        case "pattern":
            return f"must be of the form {kind.pattern}"
        case _:
            return message if len(message) < 80 else f"is not what it has to be ({kind.name})"  # noqa: PLR2004


def _is_number(text: object) -> bool:
    return isinstance(text, str) and text.replace(".", "", 1).isdigit()


def _suggest(name: str, steps: Sequence[str | int], schema: Mapping[str, Any]) -> str:
    """``; did you mean ...?``: a key of nearly this name here, else one of exactly this name elsewhere."""
    here: Mapping[str, Any] = schema
    for step in steps:
        here = here.get("properties", {}).get(step, {})
    known = list(here.get("properties", ()))
    close = difflib.get_close_matches(name, known, n=1)
    prefix = "".join(f"{step}." for step in steps)
    if close:
        return f"; did you mean {prefix}{close[0]}?"
    elsewhere = [path for path, _ in walk_keys(schema) if path.rpartition(".")[2] == name]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    return f"; known here: {', '.join(known)}" if known else ""


def walk_keys(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every key that holds a value, with its part of the schema: ``server.port``, ..."""
    for name, value in schema.get("properties", {}).items():
        if value.get("type") == "object":
            yield from walk_keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
