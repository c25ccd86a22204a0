"""A real S3 server with versions and Object Lock on loopback: versitygw, over folders of its own.

with running_s3(folder) as server:
    url = server.make_bucket()                  # s3://... with Object Lock
    server.client.put_object(...)               # as somebody with the same credentials
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import boto3
from botocore.config import Config

from placet.audit.archive.bucket import Bucket, split_url
from tests.e2e.processes import Process, clean_environment, program_path
from tests.simulators.ports import free_port

ACCESS: Final = "test-writer"
SECRET: Final = "test-writer-secret"
REGION: Final = "us-east-1"
_START_S: Final = 30.0


class ServedBy(NamedTuple):
    """Files of a server's certificate.

    Attributes:
        certificate: PEM.
        key: PEM.
        authority: PEM of who signed it.
    """

    certificate: Path
    key: Path
    authority: Path


class S3Server:
    """One server.

    Attributes:
        endpoint: its address.
        client: of boto3, with the credentials that may do everything.
    """

    def __init__(self, folder: Path, port: int, tls: ServedBy | None = None) -> None:
        self.port = port
        self.endpoint = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
        self._ca = None if tls is None else str(tls.authority)
        certificate = () if tls is None else ("--cert", tls.certificate, "--key", tls.key)
        self.client: Any = self.make_client()
        self._count = itertools.count(1)
        for name in ("data", "versions"):
            (folder / name).mkdir(exist_ok=True)
        self.process = Process(
            "versitygw",
            [
                program_path("versitygw"),
                *("--port", f"127.0.0.1:{port}", "--region", REGION, "--quiet", *certificate, "posix"),
                *("--versioning-dir", folder / "versions", folder / "data"),
            ],
            folder / "log",
            clean_environment(folder) | {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET},
        )

    def make_client(self, *, secret: str = SECRET, access: str = ACCESS) -> Any:
        """A client that gives up at once."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            verify=self._ca,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def make_bucket(self, *, locked: bool = True) -> Bucket:
        """A new bucket, and a prefix in it."""
        name = f"records-{next(self._count)}"
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
        return Bucket(f"s3://{name}/prod", self.client)

    def bucket(self, url: str) -> Bucket:
        """A prefix that is there."""
        return Bucket(url, self.client)

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to reach the server."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def ready(self) -> bool:
        """Whether it answers; False too where it has ended."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return not self.process.running


class Intruder:
    """Somebody who has the credentials of whoever writes the archive, and uses them otherwise."""

    def __init__(self, server: S3Server, bucket: Bucket) -> None:
        self._client = server.client
        self._bucket, self._prefix = split_url(bucket.url)

    def paths(self, below: str = "") -> list[str]:
        """Names that a listing shows, sorted."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix + below)
        return sorted(row["Key"][len(self._prefix) :] for page in pages for row in page.get("Contents", ()))

    def read(self, path: str) -> bytes:
        """What is given away to who names no version."""
        raw: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)["Body"].read()
        return raw

    def versions(self, path: str) -> list[str]:
        """Versions with content, the newest first."""
        page = self._client.list_object_versions(Bucket=self._bucket, Prefix=self._prefix + path)
        return [row["VersionId"] for row in page.get("Versions", ()) if row["Key"] == self._prefix + path]

    def write(self, path: str, raw: bytes) -> None:
        """Put a version over whatever there is."""
        self._client.put_object(Bucket=self._bucket, Key=self._prefix + path, Body=raw)

    def hide(self, path: str) -> None:
        """Delete it as most programs do: a marker."""
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + path)

    def destroy(self, path: str, **how: Any) -> None:
        """Delete every version."""
        for version in self.versions(path):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + path, VersionId=version, **how)

    def everything(self) -> set[tuple[str, str]]:
        """Name and version of all that there is, markers too."""
        page = self._client.list_object_versions(Bucket=self._bucket, Prefix=self._prefix)
        rows = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        return {(row["Key"][len(self._prefix) :], row["VersionId"]) for row in rows}

    def destroy_version(self, path: str, version: str) -> None:
        """Delete one version, or marker."""
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + path, VersionId=version)

    def relock(self, path: str, mode: str, until: Any) -> None:
        """Change the lock of the newest version."""
        self._client.put_object_retention(
            Bucket=self._bucket,
            Key=self._prefix + path,
            VersionId=self.versions(path)[0],
            Retention={"Mode": mode, "RetainUntilDate": until},
        )


@contextlib.contextmanager
def running_s3(folder: Path, tls: ServedBy | None = None) -> Iterator[S3Server]:
    """A server below a folder, over TLS where it has a certificate; ended afterwards."""
    server = S3Server(folder, free_port(), tls)
    server.process.wait_until(server.ready, "answers", _START_S)
    try:
        yield server
    finally:
        server.process.stop()
