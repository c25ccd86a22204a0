"""``placet serve``: the webhook as a process."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import click

from placet.config import CONFIG_VARIABLE, load_config
from placet.errors import ConfigError


@click.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("placet.yaml"),
    show_default=True,
    envvar=CONFIG_VARIABLE,
    show_envvar=True,
    help="The configuration file.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Listen here instead of server.port.")
def serve(config_file: Path, port: int | None) -> None:
    r"""Run the admission webhook.

    \b
    Examples:
      placet serve --config placet.yaml
      placet serve --config placet.yaml --port 9443

    The configuration, the roots, the policy bundle and the record are checked first; what can't be used ends the
    command with exit code 2 before a port is opened. A keyring that is missing or has expired does not: every review is
    refused, and /readyz says why, until there is one that can be trusted.

    \b
    Signals:
      SIGHUP   reads the configuration, the data and the certificates again; a changed file is noticed without it
      SIGTERM  not ready at once; goes on serving for server.drain_seconds, finishes what has begun, ends with 0
      SIGINT   the same without going on

    \b
    Exit codes:
      0  ended by SIGTERM or SIGINT
      2  it could not start

    \b
    Environment:
      PLACET_CONFIG                   the configuration file
      PLACET_LOG_KEY_PASSPHRASE       opens the log's key
      PLACET_NEXT_LOG_KEY_PASSPHRASE  opens the one that takes over
      PLACET_OPA_TOKEN                is shown to OPA
      PLACET_PATH_TOKEN               last segment of the path that the API server has to call

    \b
    See also: placet config check, placet init
    """
    from webhook import logs  # noqa: PLC0415 - every command loads this module; the rest is for this one alone
    from webhook.runtime import Runtime  # noqa: PLC0415
    from webhook.server import run_server  # noqa: PLC0415
    from webhook.server_ports import open_listener  # noqa: PLC0415
    from webhook.tls import Certificates  # noqa: PLC0415

    config = load_config(config_file)
    settings = config.server
    if settings.tls_cert is None or settings.tls_key is None:
        raise ConfigError(
            f"{config.file}: server: tls_cert and tls_key are missing",
            hint="The API server speaks TLS only; placet init makes a certificate for trying things out.",
        )
    Certificates.load(settings)
    for tried in (port or settings.port, settings.status_port):
        if tried is not None:
            open_listener(settings.host, tried).close()
    # Until the server takes it over, a hangup would end the process; files that change meanwhile are noticed anyway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    runtime = Runtime.open(config)
    if waiting := runtime.problems().get("keyring"):
        logs.say(logging.WARNING, "every review is refused until this is mended", detail=logs.told(waiting))
    run_server(runtime, settings, port=port, access=runtime.access)
