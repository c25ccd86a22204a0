"""Objects as they are in a cluster, read with the kubeconfig of whoever asks. Nothing is ever changed there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from placet.errors import InputError
from placet.manifests import Manifest
from placet.model import DOMAIN
from placet.projection import CustomKind, Kinds

TIMEOUT_S: Final = 10.0
FALLBACK_NAMESPACE: Final = "default"
ENVIRONMENT_LABEL: Final = f"{DOMAIN}/environment"
_CORE, _APPS, _BATCH = ("v1", "CoreV1Api"), ("apps/v1", "AppsV1Api"), ("batch/v1", "BatchV1Api")
# kind -> apiVersion and class of the client, the client's word for it, and further names that kubectl knows
_KINDS: Final = {
    "CronJob": (_BATCH, "cron_job", ("cj",)),
    "DaemonSet": (_APPS, "daemon_set", ("ds",)),
    "Deployment": (_APPS, "deployment", ("deploy",)),
    "Job": (_BATCH, "job", ()),
    "Pod": (_CORE, "pod", ("po",)),
    "ReplicaSet": (_APPS, "replica_set", ("rs",)),
    "ReplicationController": (_CORE, "replication_controller", ("rc",)),
    "StatefulSet": (_APPS, "stateful_set", ("sts",)),
}
# What the client lets escape about a kubeconfig that is YAML and no kubeconfig.
_ODD: Final = (ValueError, TypeError, AttributeError, LookupError)
_NAMES: Final = {
    name: kind for kind, (_, _, short) in _KINDS.items() for name in (kind.lower(), f"{kind.lower()}s", *short)
}


class NotThereError(InputError):
    """The API server knows no such object, or no such version of its kind."""


@dataclass(frozen=True, slots=True)
class Target:
    """A live object that a person named.

    Attributes:
        kind: as the API spells it.
        name: of the object.
        custom: the kind's entries in the registry, one for each form of it; empty for a built-in kind.
    """

    kind: str
    name: str
    custom: tuple[CustomKind, ...] = ()

    @property
    def resource(self) -> str:
        """``Deployment/llama``."""
        return f"{self.kind}/{self.name}"


def parse_target(text: str, kinds: Callable[[], Kinds] = Kinds) -> Target:
    """``deployment/llama``, ``deploy/llama``, ``deployments.apps/llama``, ``rollouts.argoproj.io/llama``.

    Args:
        text: what was typed.
        kinds: gives the registry; asked only where the kind is no built-in one.

    Raises:
        InputError: not of this form, no kind of workload, or several kinds have the name.
    """
    typed, slash, name = text.partition("/")
    if not slash or not name or "/" in name:
        hint = "Files are named with -f."
        raise InputError(f"{text[:80]!r} is not of the form KIND/NAME, such as deployment/llama", hint=hint)
    word, _, group = typed.lower().partition(".")
    built_in = _NAMES.get(word)
    if built_in is not None and group.removeprefix("v1.") in {"", "v1", _group_of(built_in)}:
        return Target(built_in, name)
    custom = kinds().custom
    named = [
        one for one in custom if word in {one.name.lower(), one.resource} and (not group or group == one.group.lower())
    ]
    kinds_named = {f"{one.resource}.{one.group}" for one in named}
    if len(kinds_named) > 1:
        full = ", ".join(sorted(kinds_named))
        raise InputError(f"{typed[:40]!r} is the name of several kinds", hint=f"Name one in full: {full}.")
    if not named:
        known = ", ".join(sorted({*map(str.lower, _KINDS), *(one.name.lower() for one in custom)}))
        raise InputError(f"{typed[:40]!r} is no kind of workload", hint=f"Kinds are {known}.")
    return Target(named[0].name, name, tuple(named))


def _group_of(kind: str) -> str:
    (version, _), _, _ = _KINDS[kind]
    return version.rpartition("/")[0]


class LiveCluster:
    """The API server that a kubeconfig names.

    Attributes:
        files: the kubeconfig, or several of them as KUBECONFIG lists them.
        context: "" for the current one.
    """

    def __init__(self, kubeconfig: Path | None, context: str) -> None:
        """Connects when it is first asked."""
        default = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        self.files = default if kubeconfig is None else str(kubeconfig)
        self.context = context
        self._api: Any = None

    def namespace(self) -> str:
        """The namespace of the context, as kubectl takes it.

        Raises:
            InputError: there is no such kubeconfig or context.
        """
        from kubernetes import config
        from yaml import YAMLError

        try:
            contexts, active = config.list_kube_config_contexts(self.files)
        except (config.ConfigException, YAMLError, OSError, *_ODD) as exc:
            raise self._no_config(exc) from exc
        chosen = next((one for one in contexts if one["name"] == self.context), None) if self.context else active
        if chosen is None:
            known = ", ".join(one["name"] for one in contexts) or "none"
            raise InputError(f"the kubeconfig {self.files} has no context {self.context}", hint=f"It has: {known}.")
        return str(chosen["context"].get("namespace") or FALLBACK_NAMESPACE)

    def load(self, target: Target, namespace: str) -> Manifest:
        """One object.

        Raises:
            InputError: it is not there, may not be read, or the API server can't be asked.
        """
        if target.custom:
            version, value = self._load_custom(target, namespace)
        else:
            (version, api), word, _ = _KINDS[target.kind]
            value = self._get(
                api,
                f"read_namespaced_{word}",
                {"name": target.name, "namespace": namespace},
                f"{target.resource} in namespace {namespace}",
            )
        # What the server keeps for itself about fields; kubectl does not show it either.
        value.get("metadata", {}).pop("managedFields", None)
        return Manifest(file="", line=0, object={**value, "apiVersion": version, "kind": target.kind}, index=0)

    def _load_custom(self, target: Target, namespace: str) -> tuple[str, dict[str, Any]]:
        """An object in the first version of its entries that the cluster serves."""
        what = f"{target.resource} in namespace {namespace}"
        missing = NotThereError(f"there is no {what}")
        for kind in target.custom:
            place = {"group": kind.group, "namespace": namespace, "plural": kind.resource, "name": target.name}
            for version in kind.versions:
                try:
                    value = self._get(
                        "CustomObjectsApi", "get_namespaced_custom_object", {**place, "version": version}, what
                    )
                except NotThereError as exc:
                    missing = exc
                else:
                    return f"{kind.group}/{version}", value
        raise missing

    def environment(self, namespace: str) -> str:
        """The environment that the namespace's label names.

        Raises:
            InputError: it has none, or can't be read.
        """
        value = self._get("CoreV1Api", "read_namespace", {"name": namespace}, f"namespace {namespace}")
        found = (value.get("metadata", {}).get("labels") or {}).get(ENVIRONMENT_LABEL)
        if not isinstance(found, str) or not found:
            raise InputError(
                f"the namespace {namespace} has no label {ENVIRONMENT_LABEL}", hint="Name the environment with -e."
            )
        return found

    def _get(self, api: str, method: str, names: dict[str, str], what: str) -> dict[str, Any]:
        from kubernetes import client
        from kubernetes.client.exceptions import ApiException, OpenApiException
        from urllib3.exceptions import HTTPError

        try:
            ask = getattr(getattr(client, api)(self._client()), method)
            answer = ask(**names, _preload_content=False, _request_timeout=TIMEOUT_S)
            status, raw = int(answer.status), answer.data
        except ApiException as exc:
            raise _refused(exc.status, what) from exc
        except (OpenApiException, HTTPError, OSError, ValueError) as exc:
            raise InputError(
                f"the API server of {self._name()} can't be asked: {type(exc).__name__}",
                hint="Does `kubectl version` answer with the same --kubeconfig and --context?",
            ) from exc
        if status != HTTPStatus.OK:
            raise _refused(status, what)
        return _parse(raw)

    def _client(self) -> Any:
        from kubernetes import config
        from yaml import YAMLError

        if self._api is None:
            try:
                self._api = config.new_client_from_config(self.files, context=self.context or None)
            except (config.ConfigException, YAMLError, OSError, *_ODD) as exc:
                raise self._no_config(exc) from exc
        return self._api

    def _name(self) -> str:
        return f"the context {self.context}" if self.context else f"the kubeconfig {self.files}"

    def _no_config(self, exc: Exception) -> InputError:
        why = " ".join(str(exc).split())[:200]
        return InputError(
            f"no usable kubeconfig in {self.files}: {why}",
            hint="Name one with --kubeconfig or KUBECONFIG, and its context with --context.",
        )


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError as exc:
        raise InputError("the API server's answer is not JSON") from exc
    if not isinstance(value, dict):
        raise InputError("the API server answered something that is no object")
    return value


def _refused(status: int | None, what: str) -> InputError:
    match status:
        case HTTPStatus.NOT_FOUND:
            return NotThereError(
                f"there is no {what}", hint="Name its namespace with -n; kubectl get lists what there is."
            )
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            hint = "`kubectl auth can-i get` shows what you may read."
            return InputError(f"you may not read {what} (HTTP {status})", hint=hint)
        case _:
            return InputError(f"the API server answered HTTP {status} when asked for {what}")
