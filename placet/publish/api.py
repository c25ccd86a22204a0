"""Objects that are written to an API server: read, rendered anew, put back where nobody else wrote meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol

from placet.apiserver import ApiServer, ClusterUnavailable

TIMEOUT_S: Final = 10.0
BETWEEN_WRITES_S: Final = 0.05
_ATTEMPTS: Final = 5
_HINT: Final = "Check that the API server is well, and the rights of the gate's account."
_PASSING: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})

# What may be the fault of one object; anything else is that of the API server, which is waited for.
OF_ONE_OBJECT: Final = frozenset({HTTPStatus.CONFLICT, HTTPStatus.INTERNAL_SERVER_ERROR})

# What became of an object.
CREATED: Final = "created"
UPDATED: Final = "updated"
UNCHANGED: Final = "unchanged"
FORBIDDEN: Final = "forbidden"
GONE: Final = "gone"
REFUSED: Final = "refused"

Object = Mapping[str, Any]
Render = Callable[[Object | None], Object | None]


class Unpublished(ClusterUnavailable):
    """An object could not be written, and may be later.

    Attributes:
        status: of HTTP, 409 where others wrote again and again.
    """

    code = "unpublished"

    def __init__(self, path: str, status: int) -> None:
        super().__init__(f"the API server answers {status} to a write of {path}", hint=_HINT)
        self.status = status


class Objects(Protocol):
    """Where objects are read and written."""

    def find(self, path: str) -> Object | None:
        """The object at a path; None where there is none.

        Raises:
            ClusterUnavailable: no answer, or not allowed.
        """

    def put(self, collection: str, name: str, render: Render) -> str:
        """Make an object what it should be; what became of it, one of the words above.

        Args:
            collection: path of the collection, each part of it quoted.
            name: of the object.
            render: the object as it should be, given the one that is there or None; None to leave things as they are.
                Called again where somebody else has written meanwhile.

        Raises:
            ClusterUnavailable: it may work later.
        """

    def list_metadata(self, collection: str, selector: str) -> list[Object]:
        """Metadata of the objects with these labels.

        Raises:
            ClusterUnavailable: no answer, or not allowed.
        """

    def remove(self, collection: str, name: str) -> None:
        """Delete an object, if it is there.

        Raises:
            ClusterUnavailable: it may be there still.
        """


class ClusterObjects(ApiServer):
    """Objects of a real API server. Writes are spaced, so that nothing here can flood it."""

    def __init__(
        self, kubeconfig: str | None, *, pause: Callable[[float], object] = time.sleep, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Connect lazily.

        Args:
            kubeconfig: a file; None for the service account of the Pod.
            pause: waits so many seconds before each write.
            timeout_s: the longest that one answer may take.
        """
        super().__init__(kubeconfig)
        self._pause = pause
        self._timeout_s = timeout_s

    def find(self, path: str) -> Object | None:
        """See :class:`Objects`."""
        return self.get(path, timeout_s=self._timeout_s, hint=_HINT)

    def put(self, collection: str, name: str, render: Render) -> str:
        """See :class:`Objects`."""
        path = f"{collection}/{name}"
        for _ in range(_ATTEMPTS):
            status, found = self._call("GET", path)
            if status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
                return _outcome(path, status, found)
            there = found if status == HTTPStatus.OK else None
            wanted = render(there)
            if wanted is None:
                return UNCHANGED
            self._pause(BETWEEN_WRITES_S)
            if there is None:
                status, answer = self._call("POST", collection, wanted)
            else:
                version = (there.get("metadata") or {}).get("resourceVersion")
                wanted = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": version}}
                status, answer = self._call("PUT", path, wanted)
            if status in {HTTPStatus.OK, HTTPStatus.CREATED}:
                return CREATED if there is None else UPDATED
            # Somebody made, changed or deleted it between our look and our write: look again.
            if status == HTTPStatus.CONFLICT or (status == HTTPStatus.NOT_FOUND and there is not None):
                continue
            return _outcome(path, status, answer)
        raise Unpublished(path, HTTPStatus.CONFLICT)

    def list_metadata(self, collection: str, selector: str) -> list[Object]:
        """See :class:`Objects`."""
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        found = self.get(f"{collection}?labelSelector={selector}", timeout_s=self._timeout_s, hint=_HINT, accept=accept)
        items = (found or {}).get("items") or []
        return [item["metadata"] for item in items if isinstance(item, dict) and isinstance(item.get("metadata"), dict)]

    def remove(self, collection: str, name: str) -> None:
        """See :class:`Objects`."""
        self._pause(BETWEEN_WRITES_S)
        status, _ = self._call("DELETE", f"{collection}/{name}")
        if status not in {HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NOT_FOUND}:
            raise Unpublished(f"{collection}/{name}", status)

    def _call(self, method: str, path: str, body: Object | None = None) -> tuple[int, Object]:
        """Status and body of an answer.

        Raises:
            ClusterUnavailable: no answer, or one that says to come again.
        """
        status, raw = self._ask(method, path, self._timeout_s, _HINT, body=body)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
            raise Unpublished(path, status)
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ClusterUnavailable(f"the API server's answer to {method} {path} is no object", hint=_HINT)
        return status, value


def attempt_each(tasks: Iterable[Callable[[], object]]) -> None:
    """Do all of it, also where the API server fails on one object; then say so.

    Raises:
        ClusterUnavailable: one was not done; where it is no fault of one object, none after it.
    """
    failed: Unpublished | None = None
    for task in tasks:
        try:
            task()
        except Unpublished as exc:
            if exc.status not in OF_ONE_OBJECT:
                raise
            failed = failed or exc
    if failed is not None:
        raise failed


def _outcome(path: str, status: int, answer: Object) -> str:
    """What a status that no repetition will change means for the object."""
    if status == HTTPStatus.NOT_FOUND:
        return GONE  # the namespace, or the kind
    if status == HTTPStatus.FORBIDDEN:
        details = answer.get("details")
        causes = details.get("causes") if isinstance(details, dict) else None
        ending = any(isinstance(one, dict) and one.get("reason") == "NamespaceTerminating" for one in causes or ())
        return GONE if ending else FORBIDDEN
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return REFUSED
    raise Unpublished(path, status)
