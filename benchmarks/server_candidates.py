"""The HTTP servers that ``bench_servers.py`` compares, each started with the settings that suit it best.

    python benchmarks/server_candidates.py NAME PORT FOLDER

The application is the same for all: it parses the body and answers a small JSON object. ``/hold`` takes three seconds;
``/peer`` says which name of the caller's certificate the application can see.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIEnvironment

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

THREADS: Final = 4
KEEP_ALIVE_S: Final = 120
HOLD_S: Final = 3.0


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Parse, answer."""
    path, value = environ["PATH_INFO"], None
    if environ["REQUEST_METHOD"] == "POST":
        value = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"null")
    if path == "/hold":
        time.sleep(HOLD_S)
    answer: dict[str, Any] = {"uid": value and value.get("uid"), "allowed": True}
    if path == "/peer":
        answer["peer"] = find_peer(environ)
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def find_peer(environ: WSGIEnvironment) -> str:
    """The common name of the caller's certificate, wherever a server puts it."""
    if names := environ.get("placet.caller_names"):
        return str(names[0])
    if (stream := environ.get("gunicorn.socket")) is not None and (peer := stream.getpeercert()):
        return str(dict(part[0] for part in peer["subject"])["commonName"])
    return ""


def serve_placet(port: int, folder: Path) -> None:
    """Our own, on httptools and uvloop."""
    from placet.config_server import ServerConfig  # noqa: PLC0415
    from webhook.server import run_server  # noqa: PLC0415

    class Lifecycle:
        """Nothing happens."""

        def __init__(self) -> None:
            self.app = app

        def drain(self) -> None:
            """Nothing."""

        def reload(self) -> None:
            """Nothing."""

        def close(self) -> None:
            """Nothing."""

    settings = ServerConfig(
        host="127.0.0.1", port=port, tls_cert=folder / "tls.crt", tls_key=folder / "tls.key", tls_minimum="1.3",
        client_ca=folder / "ca.crt", client_names=("bench",), status_port=None, threads=THREADS, drain_s=3.0,
    )  # fmt: skip
    run_server(Lifecycle(), settings)


def bridge(pool: ThreadPoolExecutor) -> Callable[..., Any]:
    """The shortest ASGI application that calls a WSGI one in a thread, for uvicorn and hypercorn."""

    def call(scope: dict[str, Any], body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": scope["method"], "PATH_INFO": scope["path"], "wsgi.input": io.BytesIO(body),
            "QUERY_STRING": scope["query_string"].decode("latin-1"), "wsgi.url_scheme": "https",
        }  # fmt: skip
        for name, value in scope["headers"]:
            variable = name.decode("latin-1").upper().replace("-", "_")
            plain = variable in {"CONTENT_TYPE", "CONTENT_LENGTH"}
            environ[variable if plain else f"HTTP_{variable}"] = value.decode("latin-1")
        started: list[Any] = []
        chunks = app(environ, lambda status, headers, _=None: started.extend((status, headers)))  # type: ignore[arg-type]
        head = [(name.lower().encode(), value.encode()) for name, value in started[1]]
        return int(started[0][:3]), head, b"".join(chunks)

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        chunks = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunks.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        loop = asyncio.get_running_loop()
        status, headers, body = await loop.run_in_executor(pool, call, scope, b"".join(chunks))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


def serve_uvicorn(port: int, folder: Path) -> None:
    """Uvicorn with httptools and uvloop, and the bridge."""
    import uvicorn  # noqa: PLC0415

    uvicorn.run(
        bridge(ThreadPoolExecutor(THREADS)), host="127.0.0.1", port=port, ssl_certfile=folder / "tls.crt",
        ssl_keyfile=str(folder / "tls.key"), ssl_ca_certs=str(folder / "ca.crt"), ssl_cert_reqs=1, loop="uvloop",
        http="httptools", lifespan="off", log_level="error", access_log=False, timeout_keep_alive=KEEP_ALIVE_S,
    )  # fmt: skip


def serve_hypercorn(port: int, folder: Path) -> None:
    """Hypercorn with uvloop, and the bridge."""
    import signal  # noqa: PLC0415
    import ssl  # noqa: PLC0415

    import hypercorn.asyncio  # noqa: PLC0415
    import uvloop  # noqa: PLC0415
    from hypercorn.config import Config  # noqa: PLC0415

    config = Config.from_mapping(
        bind=f"127.0.0.1:{port}", certfile=str(folder / "tls.crt"), keyfile=str(folder / "tls.key"),
        ca_certs=str(folder / "ca.crt"), verify_mode=ssl.CERT_OPTIONAL, keep_alive_timeout=KEEP_ALIVE_S,
        alpn_protocols=["http/1.1"],
    )  # fmt: skip

    async def serve() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await hypercorn.asyncio.serve(bridge(ThreadPoolExecutor(THREADS)), config, shutdown_trigger=stop.wait)

    uvloop.run(serve())


def serve_gunicorn(port: int, folder: Path) -> None:
    """Gunicorn with one gthread worker."""
    os.chdir(Path(__file__).parent)
    command = [
        sys.executable, "-m", "gunicorn", "server_candidates:app", "--bind", f"127.0.0.1:{port}", "--workers", "1",
        "--threads", str(THREADS), "--worker-class", "gthread", "--keep-alive", str(KEEP_ALIVE_S), "--log-level",
        "critical", "--certfile", str(folder / "tls.crt"), "--keyfile", str(folder / "tls.key"), "--ca-certs",
        str(folder / "ca.crt"), "--cert-reqs", "1",
    ]  # fmt: skip
    os.execv(sys.executable, command)  # noqa: S606 - our own words


def serve_granian(port: int, folder: Path) -> None:
    """Granian with its WSGI interface."""
    from granian import Granian  # noqa: PLC0415
    from granian.constants import HTTPModes, Interfaces  # noqa: PLC0415
    from granian.http import HTTP1Settings  # noqa: PLC0415
    from granian.log import LogLevels  # noqa: PLC0415

    os.chdir(Path(__file__).parent)
    sys.path.insert(0, str(Path(__file__).parent))
    Granian(
        "server_candidates:app", address="127.0.0.1", port=port, interface=Interfaces.WSGI, workers=1,
        blocking_threads=THREADS, http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=KEEP_ALIVE_S * 1000),  # it ends idle connections too
        ssl_cert=folder / "tls.crt", ssl_key=folder / "tls.key",
        log_level=LogLevels.critical,
    ).serve()  # fmt: skip


CANDIDATES: Final[dict[str, Callable[[int, Path], None]]] = {
    "placet": serve_placet,
    "uvicorn": serve_uvicorn,
    "granian": serve_granian,
    "gunicorn": serve_gunicorn,
    "hypercorn": serve_hypercorn,
}
RELOADS_BY_HANGUP: Final = frozenset({"granian", "gunicorn"})


@functools.cache
def installed(name: str) -> bool:
    """Whether a candidate can be measured here."""
    return name == "placet" or importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    CANDIDATES[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))
