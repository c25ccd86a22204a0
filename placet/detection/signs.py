"""What a single container shows: whether it serves a model, asks for an accelerator, or is something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from placet.detection.command import CommandLine, read_command
from placet.detection.containers import Container, Pod
from placet.detection.rules import Rules
from placet.detection.words import Found, Names, fold, split_words

_TABLES_WITHOUT_ACCELERATOR: Final = 3
_MOST_SIGNS: Final = 3


@dataclass(frozen=True, slots=True, order=True)
class Sign:
    """One thing that a container shows.

    Attributes:
        table: of the policy data.
        key: of that table. No text of the object's author.
    """

    table: str
    key: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a container shows.

    Attributes:
        serves: why it serves a model; () where nothing shows that.
        suspected: why it may.
    """

    serves: tuple[Sign, ...] = ()
    suspected: tuple[Sign, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around a container.

    Attributes:
        ends: whether it runs to an end: only what it starts counts then, not what its image could do.
        names: words in the name of the object that it belongs to.
        fetched: what gets a model before it starts.
    """

    ends: bool
    names: frozenset[Sign]
    fetched: tuple[Sign, ...]


def find_fetched(pod: Pod, rules: Rules) -> tuple[Sign, ...]:
    """What an init container gets a model with: by a program that does, or a downloader that is told of a model."""
    for container in pod.containers:
        if not container.starts_only:
            continue
        line = read_command(container.command, container.arguments, rules)
        if line.fetch is not None:
            return (Sign("commands", line.fetch.key),)
        _, companion = _read_image(container.image, rules)
        arguments = tuple(_arguments(container, rules))
        if arguments and (companion or line.companion):
            return arguments
    return ()


def judge_container(container: Container, rules: Rules, around: Surroundings) -> Shown:
    """Judge a container of a pod by the tables, and by what stands around it."""
    line = read_command(container.command, container.arguments, rules, scripts=container.scripts)
    if line.server is not None:
        return _judge_started(container, line, line.server, ends=around.ends)
    if container.starts_only or line.idle:
        return Shown()
    accelerators = _accelerators(container, rules)
    image, companion = _read_image(container.image, rules)
    if companion is not None or (line.companion is not None and not line.other):
        return Shown(suspected=accelerators)
    if around.ends:
        arguments = tuple(_arguments(container, rules))
        if image is not None and image.meaning == "server" and arguments and not line.given:
            return Shown(serves=(Sign("images", image.key), *arguments))
        return Shown(suspected=accelerators)
    served = _judge_running(container, image, accelerators, rules, around)
    return Shown(serves=served[:_MOST_SIGNS]) if served else Shown(suspected=accelerators)


def _judge_started(container: Container, line: CommandLine, server: Found, *, ends: bool) -> Shown:
    """A server that an init container starts, or a Job to fetch a model with, is not there to serve."""
    signs = (Sign("commands", server.key),)
    only_for_now = container.starts_only or (ends and line.fetch is not None)
    return Shown(suspected=signs) if only_for_now else Shown(serves=signs)


def _judge_running(
    container: Container, image: Found | None, accelerators: tuple[Sign, ...], rules: Rules, around: Surroundings
) -> tuple[Sign, ...]:
    """Why a container that is there to stay serves a model, whatever it starts; () where nothing shows that."""
    meaning = "" if image is None else image.meaning
    named = () if image is None else (Sign("images", image.key),)
    if meaning == "server" and (accelerators or not _calls(container, named, rules)):
        return named
    signs = (*_signs(container, rules), *around.fetched)
    words = tuple(sorted(find_words(container.name, rules) | around.names))
    if accelerators:
        return (*accelerators, *named, *signs, *words) if named or signs or words else ()
    # Without an accelerator, a model that is named beside another's address is one that is called there.
    if _is_client(container, rules):
        return ()
    if meaning in {"model", "hint"} and (signs or (meaning == "model" and container.listens)):
        return (*named, *signs)
    tables = {sign.table for sign in (*signs, *words[:1])}
    return (*signs, *words) if len(tables) >= _TABLES_WITHOUT_ACCELERATOR else ()


def _read_image(reference: str, rules: Rules) -> tuple[Found | None, Found | None]:
    """The most that the repository and tag say of a server, and the word that voids it."""
    words = split_words(_without_registry(reference.partition("@")[0]))
    name = max((at + 1 for at, word in enumerate(words) if word == "/"), default=0)
    found = list(rules.images.find(words))
    own = [one for one in found if one.end > name or "/" in words[one.start : one.end]]
    # A word of a folder says less than one of the repository's own name, but for entries that speak of folders; beside
    # the name of a model it says enough.
    in_folder = [one for one in found if one not in own and one.meaning == "server"]
    ranked = sorted(own, key=lambda one: _RANK.index(one.meaning))
    best = ranked[0] if ranked else None
    if in_folder and (best is None or best.meaning != "server"):
        folder = in_folder[0]
        meaning = "server" if best is not None and best.meaning == "model" else "hint"
        best = Found(folder.key, meaning, folder.start, folder.end)
    taken = {at for one in found for at in range(one.start, one.end) if one.end - one.start > 1}
    tag = next((at for at in range(name, len(words)) if words[at] == ":"), len(words))
    beside = ((one, one.start + name) for one in rules.companions.find(words[name:]))
    voided = next((one for one, at in beside if at not in taken and (one.meaning != "name" or at < tag)), None)
    return best, voided


_RANK: Final = ("server", "model", "hint", "accelerated")


def _without_registry(reference: str) -> str:
    first, slash, rest = reference.partition("/")
    return rest if slash and ("." in first or ":" in first or first == "localhost") else reference


def _accelerators(container: Container, rules: Rules) -> tuple[Sign, ...]:
    found = (rules.resources.get(name) for name in sorted(container.resources))
    return tuple(Sign("resources", entry[0]) for entry in found if entry is not None)[:1]


def _signs(container: Container, rules: Rules) -> Iterator[Sign]:
    """The first of each sort that the container shows."""
    yield from _arguments(container, rules)
    named = [
        found for name, filled in container.environment.items() if filled and (found := rules.environment.get(name))
    ]
    for meaning in ("model", "runtime"):
        if key := next((key for key, of in named if of == meaning), ""):
            # The runtime's settings and the model's name are two signs, though both stand in the environment.
            yield Sign("environment" if meaning == "model" else "environment/runtime", key)
    yield from _paths("mounts", rules.mounts, container.mounts)
    yield from _paths("probes", rules.probes, container.probes)


def _paths(table: str, names: Names, paths: tuple[str, ...]) -> Iterator[Sign]:
    found = next((found for path in paths if (found := names.get(path.rstrip("/")))), None)
    if found is not None:
        yield Sign(table, found[0].removesuffix("/*"))


def _is_client(container: Container, rules: Rules) -> bool:
    names = (name for name, filled in container.environment.items() if filled)
    return any(found[1] in {"client", "host"} for name in names if (found := rules.environment.get(name)))


def _calls(container: Container, image: tuple[Sign, ...], rules: Rules) -> bool:
    """Whether a container is told where another one is that its image is named after, and of no model by an option."""
    if any(_arguments(container, rules)):
        return False
    called = {word for sign in image for word in split_words(sign.key)}
    addresses = (
        name
        for name, filled in container.environment.items()
        if filled and (found := rules.environment.get(name)) is not None and found[1] == "client"
    )
    return any(called <= set(split_words(name)) for name in addresses)


def _arguments(container: Container, rules: Rules) -> Iterator[Sign]:
    """The first option that names a model, or value that is a model's file."""
    for element in (*container.command, *container.arguments):
        for word in fold(element).split():
            name, equals, value = word.strip("\"'\\").partition("=")
            option = rules.arguments.get(name.lstrip("-").replace("_", "-"))
            if option is not None and "*" not in option[0] and (equals or name.startswith("-")):
                yield Sign("arguments", option[0])
                return
            ending = rules.arguments.get(value or name)
            if ending is not None and "*" in ending[0]:
                yield Sign("arguments", ending[0])
                return


def find_words(text: str, rules: Rules) -> frozenset[Sign]:
    """Words of the table in a name, unless others in it say that it is something beside a model."""
    words = split_words(text)
    if next(iter(rules.companions.find(words)), None) is not None:
        return frozenset()
    return find_mentions(text, rules)


def find_mentions(text: str, rules: Rules) -> frozenset[Sign]:
    """Words of the table in a text, whatever else it says."""
    words = split_words(text)
    return frozenset(Sign("words", found.key) for found in rules.words.find(words))
