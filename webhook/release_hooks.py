"""What the Helm chart runs inside a cluster: before an uninstall, and for ``helm test``.

    python -m webhook.release_hooks remove-webhook NAME
    python -m webhook.release_hooks expect-refusal NAMESPACE

Both talk to the API server with the Pod's service account. They are no commands of ``placet``: people have kubectl.
"""

from __future__ import annotations

import http
import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

REFUSAL_MARK: Final = "denied the request: placet refuses"
# Every API server learns of a removed configuration from its own watch; the webhook ends no sooner than after this.
TAKE_NOTE_S: Final = 5.0
TIMEOUT_S: Final = 40.0  # more than the longest time-out of a webhook

PROBE: Final[dict[str, Any]] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "placet-check", "labels": {"placet.dev/model": "placet-check"}},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "placet-check"}},
        "template": {
            "metadata": {"labels": {"app": "placet-check"}},
            "spec": {"containers": [{"name": "model", "image": "registry.example.com/model"}]},
        },
    },
}


def remove_webhook(name: str, *, pause: Callable[[float], None] = time.sleep) -> str:
    """Delete a ValidatingWebhookConfiguration, so that the API server no longer waits for who is about to end.

    Args:
        name: of the configuration.
        pause: waits so many seconds.

    Returns:
        what was done, in a sentence.

    Raises:
        ApiException: it could not be deleted.
    """
    from kubernetes import client  # noqa: PLC0415 - slow to import

    api = client.AdmissionregistrationV1Api(_connect())
    try:
        api.delete_validating_webhook_configuration(name, _request_timeout=TIMEOUT_S)
    except client.exceptions.ApiException as error:
        if error.status != http.HTTPStatus.NOT_FOUND:
            raise
        return f"ValidatingWebhookConfiguration {name} is not there"
    pause(TAKE_NOTE_S)
    return f"ValidatingWebhookConfiguration {name} removed"


def find_fault(namespace: str) -> str:
    """Ask the API server, as a dry run, for a model without approvals; it has to refuse with placet's message.

    Args:
        namespace: a governed one.

    Returns:
        what is wrong, in a sentence; "" when it was refused as it should be.
    """
    from kubernetes import client  # noqa: PLC0415 - slow to import

    api = client.AppsV1Api(_connect())
    try:
        body: Any = PROBE  # the client takes a dict as well as its own model
        api.create_namespaced_deployment(namespace, body, dry_run="All", _request_timeout=TIMEOUT_S)
    except client.exceptions.ApiException as error:
        message = _message(error)
        return "" if REFUSAL_MARK in message else f"refused, but not by placet's decision: {message}"
    return (
        f"a model without approvals would be admitted in namespace {namespace}: the webhook configuration does not "
        "cover it, or its environment is in mode warn or audit"
    )


def _connect() -> Any:
    from kubernetes import client, config  # noqa: PLC0415 - slow to import

    config.load_config()
    return client.ApiClient()


def _message(error: Any) -> str:
    """What the API server says, from the Status that it answered with."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"


def main(arguments: list[str]) -> int:
    """Run one of the two; 0 done or refused as it should be, 1 not, 2 wrong usage or no answer."""
    from kubernetes import client, config  # noqa: PLC0415 - slow to import
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with the kubernetes client

    try:
        match arguments:
            case ["remove-webhook", name]:
                print(remove_webhook(name))  # noqa: T201 - the log of a Job
                return 0
            case ["expect-refusal", namespace]:
                fault = find_fault(namespace)
                print(fault or f"a model without approvals is refused in namespace {namespace}")  # noqa: T201
                return 1 if fault else 0
    except client.exceptions.ApiException as error:
        print(f"the API server answered {error.status}: {_message(error)}", file=sys.stderr)  # noqa: T201
        return 2
    except (config.ConfigException, OSError, HTTPError) as error:
        print(f"the API server can't be asked: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print("usage: python -m webhook.release_hooks remove-webhook NAME | expect-refusal NAMESPACE", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
