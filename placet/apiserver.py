"""Questions to the Kubernetes API server, one at a time, each with a time-out of its own, none repeated unseen.

Nothing that is asked here can change a cluster: what is no GET is a dry run. ``placet.publish.api`` alone writes.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from placet.errors import PlacetError

JSON: Final = "application/json"
_CONNECTIONS: Final = 16
_CHUNK: Final = 64 * 1024


class ClusterUnavailable(PlacetError):
    """The API server could not be asked."""

    code = "cluster_unavailable"


class UnexpectedStatus(ClusterUnavailable):
    """The API server answered with a status that is no success.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, path: str, status: int, *, hint: str) -> None:
        super().__init__(f"the API server answers {status} to GET {path}", hint=hint)
        self.status = status


class Stream:
    """An answer that goes on. One thread reads it; :meth:`cut` may be called from any."""

    def __init__(self, response: Any, path: str, hint: str) -> None:
        self._response = response
        self._path = path
        self._hint = hint

    def chunks(self) -> Iterator[bytes]:
        """What comes, as it comes; ends where the API server ends the answer.

        Raises:
            ClusterUnavailable: it broke off, was cut, or nothing came for too long.
        """
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with the kubernetes client

        try:
            yield from self._response.stream(_CHUNK, decode_content=False)
        except (HTTPError, OSError, ValueError) as exc:  # ValueError: a length that is none, a response that was closed
            raise ClusterUnavailable(f"the answer to GET {self._path} broke off", hint=self._hint) from exc

    def cut(self) -> None:
        """End it under the reader."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # it has ended already
            self._response.shutdown()

    def close(self) -> None:
        """Let go of the connection; the API server learns by it that nobody listens."""
        self._response.close()


def api_root(api_version: str) -> str:
    """Where the resources of an API version are: ``/apis/apps/v1``, or ``/api/v1`` for core."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


class ApiServer:
    """One API server, reached with a kubeconfig or with the service account of the Pod. Thread-safe."""

    def __init__(self, kubeconfig: str | None, *, context: str | None = None) -> None:
        """Connect lazily.

        Args:
            kubeconfig: a file; None for the service account inside a Pod, and the default file elsewhere.
            context: a context of that file; None for its current one.
        """
        self._kubeconfig = kubeconfig
        self._context = context
        self._lock = threading.Lock()
        self._client: Any = None

    def get(self, path: str, *, timeout_s: float, hint: str, accept: str = JSON) -> Mapping[str, Any] | None:
        """The JSON object at a path as it is now; None where there is none.

        Args:
            path: absolute, each part of it already quoted.
            timeout_s: the longest that connecting and answering may take.
            hint: what to check when there is no answer.
            accept: the media type that is asked for, a kind of JSON.

        Raises:
            ClusterUnavailable: no connection, no permission, no answer in time, or one that is no JSON object.
        """
        status, raw = self._ask("GET", path, timeout_s, hint, accept=accept)
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status != HTTPStatus.OK:
            raise UnexpectedStatus(path, status, hint=hint)
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as exc:
            raise ClusterUnavailable(f"the API server's answer to GET {path} is no JSON", hint=hint) from exc
        if not isinstance(value, dict):
            raise ClusterUnavailable(f"the API server's answer to GET {path} is no object", hint=hint)
        return value

    def create_dry_run(self, path: str, body: Mapping[str, Any], *, timeout_s: float, hint: str) -> tuple[int, bytes]:
        """Status and body of the answer to a create that is decided like any other, and changes nothing.

        Args:
            path: of a collection, without a query, each part of it already quoted.
            body: the object.
            timeout_s: the longest that connecting and answering may take.
            hint: what to check when there is no answer.

        Raises:
            ClusterUnavailable: no connection, or no answer in time.
        """
        return self._ask("POST", f"{path}?dryRun=All", timeout_s, hint, body=body)

    def open(self, path: str, *, connect_s: float, silence_s: float, hint: str) -> Stream:
        """An answer that goes on, such as that to a watch; whoever asks closes it.

        Args:
            path: absolute, each part of it already quoted.
            connect_s: the longest that connecting may take.
            silence_s: the longest that nothing may come.
            hint: what to check when there is no answer.

        Raises:
            ClusterUnavailable: no connection, no permission, or no answer in time.
        """
        from kubernetes.client.exceptions import OpenApiException  # noqa: PLC0415 - slow to import
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with the kubernetes client

        client = self._connect()
        try:
            _, url, headers, *_ = client.param_serialize(
                "GET", path, header_params={"Accept": JSON}, auth_settings=["BearerToken"]
            )
            answer = client.call_api("GET", url, headers, _request_timeout=(connect_s, silence_s))
        except (OpenApiException, OSError, HTTPError) as exc:
            raise ClusterUnavailable(f"the API server can't be asked for {path}", hint=hint) from exc
        if answer.status != HTTPStatus.OK:
            answer.response.close()
            raise UnexpectedStatus(path, int(answer.status), hint=hint)
        return Stream(answer.response, path, hint)

    def _ask(
        self,
        method: str,
        path: str,
        timeout_s: float,
        hint: str,
        *,
        accept: str = JSON,
        body: Mapping[str, Any] | None = None,
    ) -> tuple[int, bytes]:
        from kubernetes.client.exceptions import OpenApiException  # noqa: PLC0415 - slow to import
        from urllib3.exceptions import HTTPError, ProtocolError  # noqa: PLC0415 - comes with the kubernetes client

        for last in (False, True):
            client = self._connect()
            try:
                given = {"Accept": accept} if body is None else {"Accept": accept, "Content-Type": JSON}
                _, url, headers, *_ = client.param_serialize(
                    method, path, header_params=given, auth_settings=["BearerToken"]
                )
                answer = client.call_api(method, url, headers, body, _request_timeout=timeout_s)
                return int(answer.status), bytes(answer.read() or b"")
            except (OpenApiException, OSError, HTTPError) as exc:
                # A connection that was kept for the next question may have been closed meanwhile; a new one tells.
                if isinstance(exc, ProtocolError) and not last:
                    continue
                raise ClusterUnavailable(f"the API server can't be asked for {path}", hint=hint) from exc
        raise ClusterUnavailable(f"the API server can't be asked for {path}", hint=hint)

    def _connect(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> Any:
        from kubernetes import client, config  # noqa: PLC0415 - slow to import

        settings = client.Configuration()
        settings.retries = False  # urllib3 would wait for a time-out four times over
        settings.connection_pool_maxsize = _CONNECTIONS
        try:
            if self._kubeconfig is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
                config.load_incluster_config(client_configuration=settings)
            else:
                config.load_kube_config(self._kubeconfig, context=self._context, client_configuration=settings)
        except (config.ConfigException, OSError) as exc:
            raise ClusterUnavailable("no usable kubeconfig", hint=str(exc)) from exc
        return client.ApiClient(settings)
