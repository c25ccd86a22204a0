"""Where the objects of one kind come from: lists, the newest version, and the watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import quote

from placet.apiserver import ApiServer, ClusterUnavailable, Stream, UnexpectedStatus, api_root
from placet.informer.events import GONE, Event, LostTrack, parse_events

PAGE: Final = 200
CONNECT_S: Final = 3.0
LIST_S: Final = 20.0
LATE_S: Final = 5.0
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Source(Protocol):
    """All objects of one kind, in every namespace."""

    def list_all(self, take: Callable[[Mapping[str, Any]], None]) -> object:
        """Give every object there is to ``take``, as of one moment after the call; the version of the list.

        Raises:
            ClusterUnavailable: nobody answers.
            LostTrack: what came is no list, or its versions went while it was read.
        """

    def newest(self) -> object:
        """The newest version there is at a moment after the call, which no copy can know.

        Raises:
            ClusterUnavailable: nobody answers.
            LostTrack: what came is no list.
        """

    def watch(self, version: str, *, window_s: int) -> Iterable[Event]:
        """What happens after a version, for so many seconds; bookmarks before the end.

        Raises:
            ClusterUnavailable: nobody answers, or the answer broke off.
            LostTrack: what came is no event, or the version is gone.
        """

    def cut(self) -> None:
        """End the watch that is under way; from any thread."""


class KubernetesSource:
    """A real API server, by way of the Kubernetes client."""

    def __init__(self, api: ApiServer, api_version: str, resource: str) -> None:
        """Connect lazily.

        Args:
            api: where.
            api_version: of the kind.
            resource: its plural.
        """
        self._api = api
        self._path = f"{api_root(api_version)}/{resource}"
        self._hint = f"Check that the API server is well, and that the gate's user may list and watch {resource}."
        self._stream: Stream | None = None
        self._stopped = False

    def list_all(self, take: Callable[[Mapping[str, Any]], None]) -> object:
        """See :class:`Source`. Pages of a list are of one version; the first is read from no copy."""
        more = ""
        while not self._stopped:
            path = f"{self._path}?limit={PAGE}{f'&continue={quote(more, safe=str())}' if more else ''}"
            metadata, items = self._read(path, timeout_s=LIST_S)
            for item in items:
                take(item)
            more = str(metadata.get("continue") or "")
            if not more:
                return metadata.get("resourceVersion")
        raise LostTrack("the list was not read to its end")

    def newest(self) -> object:
        """See :class:`Source`. A list of one: without a version it has to be of now (Kubernetes API concepts)."""
        metadata, _ = self._read(f"{self._path}?limit=1", timeout_s=CONNECT_S, accept=_METADATA)
        return metadata.get("resourceVersion")

    def watch(self, version: str, *, window_s: int) -> Iterator[Event]:
        """See :class:`Source`."""
        path = (
            f"{self._path}?watch=true&allowWatchBookmarks=true&resourceVersion={quote(version, safe='')}"
            f"&timeoutSeconds={window_s}"
        )
        with self._opened(path, window_s) as stream:
            yield from parse_events(stream.chunks())

    def cut(self) -> None:
        """See :class:`Source`. No other is opened afterwards."""
        self._stopped = True
        stream = self._stream
        if stream is not None:
            stream.cut()

    @contextmanager
    def _opened(self, path: str, window_s: int) -> Iterator[Stream]:
        try:
            stream = self._api.open(path, connect_s=CONNECT_S, silence_s=window_s + LATE_S, hint=self._hint)
        except UnexpectedStatus as exc:
            raise _gone_or(exc) from exc
        self._stream = stream
        try:
            if self._stopped:
                raise ClusterUnavailable("nobody listens any more")
            yield stream
        finally:
            self._stream = None
            stream.close()

    def _read(self, path: str, *, timeout_s: float, **terms: str) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
        try:
            answer = self._api.get(path, timeout_s=timeout_s, hint=self._hint, **terms)
        except UnexpectedStatus as exc:
            raise _gone_or(exc) from exc
        if answer is None:
            raise ClusterUnavailable(f"the API server knows no {self._path}", hint=self._hint)
        metadata, items = answer.get("metadata"), answer.get("items")
        items = [] if items is None else items  # an empty list of metadata is written as null
        if not isinstance(metadata, dict) or not isinstance(items, list):
            raise LostTrack("the API server's list is no list")
        if not all(isinstance(item, dict) for item in items):
            raise LostTrack("the API server's list holds something that is no object")
        return metadata, items


def _gone_or(error: UnexpectedStatus) -> Exception:
    return LostTrack(str(error), code=GONE) if error.status == HTTPStatus.GONE else error
