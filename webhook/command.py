"""``placet serve``: the webhook as a process."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from placet.cli.output import safe, say, style
from placet.config import CONFIG_VARIABLE, Config, load_config
from placet.errors import ConfigError


@click.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("placet.yaml"),
    show_default=True,
    envvar=CONFIG_VARIABLE,
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
    """
    config = load_config(config_file)
    if config.tls_cert is None or config.tls_key is None:
        raise ConfigError(
            f"{config.file}: server: tls_cert and tls_key are missing",
            hint="The API server speaks TLS only; placet init makes a certificate for trying things out.",
        )
    for file in (config.tls_cert, config.tls_key):
        if not file.is_file():
            raise ConfigError(f"{config.file}: server: {file} does not exist")
    from webhook.wsgi import check_parts  # noqa: PLC0415 - loads the engine's libraries

    if waiting := check_parts(config):
        say(f"{style('warning', 'yellow', err=True)}: every review is refused until this is mended: {safe(waiting)}")
    _require_free(config.host, port or config.port)
    _run(config, port=port or config.port)


def _require_free(host: str, port: int) -> None:
    """Say in a sentence what the server would say in a trace.

    Raises:
        ConfigError: nothing can listen there.
    """
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return
    except OSError as exc:
        raise ConfigError(
            f"can't listen on {host} port {port}: {exc.strerror or exc}",
            code="port_unusable",
            hint="Another process may hold it; set server.host and server.port, or --port.",
        ) from exc


def _run(config: Config, *, port: int) -> None:
    from granian import Granian  # noqa: PLC0415 - only when serving
    from granian.constants import HTTPModes, Interfaces  # noqa: PLC0415
    from granian.log import LogLevels  # noqa: PLC0415

    os.environ[CONFIG_VARIABLE] = str(config.file)
    Granian(
        "webhook.wsgi:create",
        factory=True,
        address=config.host,
        port=port,
        interface=Interfaces.WSGI,
        workers=1,  # one process writes one SQLite log
        blocking_threads=config.threads,
        http=HTTPModes.http1,  # the API server speaks HTTP/1.1 to services
        ssl_cert=config.tls_cert,
        ssl_key=config.tls_key,
        log_level=LogLevels.warning,
    ).serve()
