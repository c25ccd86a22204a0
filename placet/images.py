"""Image references, read by one strict grammar; two references are the same only where their parts are equal.

The grammar is that of github.com/distribution/reference (the one container runtimes use), in ASCII, with one form of
digest. A name without a registry is completed as runtimes do it: ``nginx`` is ``docker.io/library/nginx``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from placet.canonical import Digest
from placet.errors import FormatError, WorkloadError
from placet.model import Image

MAX_CHARACTERS: Final = 512
IMAGE_INVALID: Final = "image_invalid"
_MAX_NAME_CHARACTERS: Final = 255
_DEFAULT_REGISTRY: Final = "docker.io"
_OFFICIAL: Final = "library"

_LABEL: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII)
_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
# The whole of a reference that is a bare image id; runtimes take it for one, not for a repository.
_IMAGE_ID: Final = re.compile(r"[a-f0-9]{64}", re.ASCII)


def parse_image(reference: str, *, container: str) -> Image:
    """Read an image reference.

    Args:
        reference: as written in the object. Hostile.
        container: where it stands, such as ``spec.containers[server]``; begins the message of an error.

    Raises:
        WorkloadError: code ``image_invalid``.
    """
    if not isinstance(reference, str) or not reference:
        raise _refusal(container, "there is no image")
    if len(reference) > MAX_CHARACTERS:
        raise _refusal(container, f"the image reference has more than {MAX_CHARACTERS} characters")
    if not reference.isascii() or not reference.isprintable() or " " in reference:
        raise _refusal(container, "the image reference holds a space or a character that is not printable ASCII")
    rest, at, digest_text = reference.partition("@")
    digest = _parse_digest(digest_text, container) if at else None
    rest, tag = _split_tag(rest)
    if tag is not None and not _TAG.fullmatch(tag):
        raise _refusal(container, f"{tag[:64]!r} is not a tag")
    return Image(
        container=container,
        reference=reference,
        name=_complete_name(rest, container),
        tag=tag or "",
        digest=digest,
    )


ReadImage = Callable[..., Image]
"""``parse_image``, or ``take_image`` for what nobody is going to judge."""


def take_image(reference: str, *, container: str) -> Image:
    """Read an image reference as :func:`parse_image` does; one that it refuses is kept as written, without a name."""
    try:
        return parse_image(reference, container=container)
    except WorkloadError:
        written = reference[:MAX_CHARACTERS] if isinstance(reference, str) else ""
        return Image(container=container, reference=written, name="", tag="", digest=None)


def _parse_digest(text: str, container: str) -> Digest:
    try:
        return Digest.parse(text)
    except FormatError as exc:
        raise _refusal(container, f"the digest of the image is {exc}") from exc


def _split_tag(rest: str) -> tuple[str, str | None]:
    """The name and the tag: what follows the last colon, unless that is the registry's port."""
    name, colon, tag = rest.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (rest, None)


def _complete_name(name: str, container: str) -> str:
    if _IMAGE_ID.fullmatch(name):
        raise _refusal(container, "the image reference is an image id, not a name")
    first, slash, rest = name.partition("/")
    registry, path = (first, rest) if slash and _is_registry(first) else (_DEFAULT_REGISTRY, name)
    if registry == f"index.{_DEFAULT_REGISTRY}":
        registry = _DEFAULT_REGISTRY
    if registry == _DEFAULT_REGISTRY and "/" not in path:
        path = f"{_OFFICIAL}/{path}"
    if not _REGISTRY.fullmatch(registry):
        raise _refusal(container, f"{registry[:64]!r} is not the name of a registry")
    if not all(_COMPONENT.fullmatch(component) for component in path.split("/")):
        raise _refusal(container, f"{path[:64]!r} is not the name of a repository (lower case, no empty parts)")
    complete = f"{registry}/{path}"
    if len(complete) > _MAX_NAME_CHARACTERS:
        raise _refusal(container, f"the image's name has more than {_MAX_NAME_CHARACTERS} characters")
    return complete


def _is_registry(first: str) -> bool:
    """Whether what stands before the first slash is a registry rather than a part of the repository's name."""
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def _refusal(container: str, what: str) -> WorkloadError:
    return WorkloadError(
        f"{container}: {what}",
        code="image_invalid",
        hint="Write registry/repository:tag@sha256:<64 lower-case hexadecimal digits>.",
    )
