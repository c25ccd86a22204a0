"""Questions to the Kubernetes API server, one at a time, each with a time-out of its own, none repeated unseen.

Nothing here can change a cluster: what is no GET is a dry run.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from placet.errors import PlacetError

JSON: Final = "application/json"
_CONNECTIONS: Final = 16


class ClusterUnavailable(PlacetError):
    """The API server could not be asked."""

    code = "cluster_unavailable"


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
            raise ClusterUnavailable(f"the API server answers {status} to GET {path}", hint=hint)
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
