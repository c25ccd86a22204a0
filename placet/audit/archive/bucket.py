"""One prefix of a bucket. Every call to the S3 server is made here, and what fails is told in words of ours.

Credentials, region, proxies and certificates are boto3's business: it reads AWS_ACCESS_KEY_ID and its like, profiles,
web identities, AWS_ENDPOINT_URL and AWS_CA_BUNDLE. No message has anything of a credential.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from placet.errors import AuditError, InputError

SCHEME: Final = "s3://"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z0-9!_.*'()/-]*", re.ASCII)
_TRIES: Final = 5
_CONNECT_S: Final = 10
_READ_S: Final = 60
_POOL: Final = 32

_GONE: Final = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound", "MethodNotAllowed", "405"})
_RIGHTS: Final = (
    "The credentials need s3:PutObject, s3:PutObjectRetention, s3:GetObject, s3:GetObjectVersion, "
    "s3:GetObjectRetention, s3:ListBucketVersions, s3:GetBucketVersioning and "
    "s3:GetBucketObjectLockConfiguration: docs/operations.md."
)
_NETWORK: Final = "Run it again: it goes on where it was. --endpoint-url or AWS_ENDPOINT_URL names the server."
# Code of the server -> (our code, sentence, hint); the server's own words are not repeated, they may name a key.
_SAID: Final[dict[str, tuple[str, str, str]]] = {
    "NoSuchBucket": (
        "archive_bucket_missing",
        "there is no such bucket",
        "Look at the name and the region; how to make one is in docs/operations.md.",
    ),
    "AccessDenied": ("archive_denied", "the server denies the access", _RIGHTS),
    "403": ("archive_denied", "the server denies the access", _RIGHTS),
    "AllAccessDisabled": ("archive_denied", "the server denies the access", _RIGHTS),
    "InvalidAccessKeyId": (
        "archive_credentials",
        "the server does not know these credentials",
        "Look at AWS_ACCESS_KEY_ID, AWS_PROFILE and --endpoint-url.",
    ),
    "XAdminUserNotFound": (  # what versitygw says
        "archive_credentials",
        "the server does not know these credentials",
        "Look at AWS_ACCESS_KEY_ID, AWS_PROFILE and --endpoint-url.",
    ),
    "SignatureDoesNotMatch": (
        "archive_credentials",
        "the server does not accept the signature of these credentials",
        "Look at AWS_SECRET_ACCESS_KEY and at the region (AWS_REGION).",
    ),
    "ExpiredToken": (
        "archive_credentials",
        "the credentials have expired",
        "Get new ones and run it again: it goes on where it was.",
    ),
    "RequestTimeTooSkewed": (
        "archive_clock",
        "this machine's clock and the server's differ too much",
        "Set the clock (NTP): the date until which objects are locked is made from it.",
    ),
    "AuthorizationHeaderMalformed": (
        "archive_region",
        "the bucket is in another region",
        "Name it by AWS_REGION or --region.",
    ),
    "PermanentRedirect": ("archive_region", "the bucket is in another region", "Name it by AWS_REGION or --region."),
    "301": ("archive_region", "the bucket is in another region", "Name it by AWS_REGION or --region."),
    "IllegalLocationConstraintException": (
        "archive_region",
        "the bucket is in another region",
        "Name it by AWS_REGION or --region.",
    ),
    "NotImplemented": (
        "archive_unsupported",
        "the server does not know a function that the archive needs",
        "It needs versions, Object Lock, checksums and `If-None-Match: *` for PutObject.",
    ),
    "BadDigest": (
        "archive_damaged",
        "what arrived is not what was sent",
        "Run it again: it goes on where it was. Something between here and the server changes data.",
    ),
    "SlowDown": ("archive_unavailable", "the server asks for fewer requests", "Run it again later."),
    "QuotaExceeded": ("archive_full", "the bucket is full", "Enlarge its quota and run it again."),
}


@dataclass(frozen=True, slots=True)
class Held:
    """One object as the server describes it.

    Attributes:
        version: of the object; "" where the bucket keeps none.
        size: bytes.
        sha256: as the server computed it, 32 bytes; empty where it does not keep one.
        locked_until: aware UTC, of a lock in compliance mode; None where there is none.
    """

    version: str
    size: int
    sha256: bytes
    locked_until: datetime | None


@dataclass(slots=True)
class Key:
    """One name, with all that the bucket has under it, the newest first.

    Attributes:
        path: below the prefix.
        versions: those with content, in the server's order: the newest first.
        hidden: whether the newest thing is a delete marker.
        latest: the version that is given away to who names none; "" where it is hidden.
    """

    path: str
    versions: list[str] = field(default_factory=list)
    hidden: bool = False
    latest: str = ""

    @property
    def first(self) -> str:
        """The version that was there first."""
        return self.versions[-1]


def is_bucket(text: str) -> bool:
    """Whether a text names a bucket, and not a folder."""
    return text.startswith(SCHEME)


def split_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of ``s3://bucket/prefix``; the prefix ends in ``/`` unless it is empty.

    Raises:
        InputError: it is none.
    """
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    prefix = prefix.rstrip("/")
    odd = prefix.startswith("/") or "//" in prefix or not _PREFIX.fullmatch(prefix)
    if not is_bucket(url) or odd or not _BUCKET.fullmatch(bucket):
        raise InputError(f"{url!r} does not name a bucket", hint="Write it as s3://bucket/prefix.")
    return bucket, f"{prefix}/" if prefix else ""


class Bucket:
    """A prefix of a bucket.

    Args:
        url: ``s3://bucket/prefix``.
        client: of boto3.
    """

    def __init__(self, url: str, client: Any) -> None:
        self._bucket, self._prefix = split_url(url)
        self._client = client
        self.url: Final = f"{SCHEME}{self._bucket}/{self._prefix}".rstrip("/")

    def __str__(self) -> str:
        return self.url

    # -- the bucket

    def is_versioned(self) -> bool:
        """Whether it keeps every version."""
        with _speaking(self.url):
            return bool(self._client.get_bucket_versioning(Bucket=self._bucket).get("Status") == "Enabled")

    def lock_rule(self) -> tuple[bool, bool]:
        """Whether Object Lock is on, and whether it locks what nobody asked it to lock."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - boto3 only for who has a bucket

        with _speaking(self.url):
            try:
                said = self._client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as exc:
                if _code(exc) in {"ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration"}:
                    return False, False
                raise
        found = said.get("ObjectLockConfiguration", {})
        default = (found.get("Rule") or {}).get("DefaultRetention") or {}
        return found.get("ObjectLockEnabled") == "Enabled", bool(default.get("Mode"))

    # -- objects

    def put(self, path: str, raw: bytes, *, locked_until: datetime | None) -> str | None:
        """Upload one object where there is none of that name.

        Args:
            path: below the prefix.
            raw: its bytes; the server compares their SHA-256.
            locked_until: aware UTC; None for an object that is not locked.

        Returns:
            Its version; None where the name is taken, and nothing was written.
        """
        from botocore.exceptions import ClientError  # noqa: PLC0415 - as above

        digest = base64.b64encode(hashlib.sha256(raw).digest()).decode()
        lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": locked_until} if locked_until else {}
        with _speaking(f"{self.url}/{path}"):
            try:
                done = self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + path,
                    Body=raw,
                    ChecksumSHA256=digest,
                    IfNoneMatch="*",
                    **lock,
                )
            except ClientError as exc:
                # A try whose answer was lost finds its own object; 409 is another writer of this moment.
                if _code(exc) in {"PreconditionFailed", "412", "ConditionalRequestConflict"}:
                    return None
                raise
        return _version(done)

    def head(self, path: str, version: str = "") -> Held | None:
        """What the server says of an object, and of one version where one is named; None where it is not there."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - as above

        named = {"VersionId": version} if version else {}
        with _speaking(f"{self.url}/{path}"):
            try:
                said = self._client.head_object(
                    Bucket=self._bucket, Key=self._prefix + path, ChecksumMode="ENABLED", **named
                )
            except ClientError as exc:
                if _code(exc) in _GONE:
                    return None
                raise
        until = said.get("ObjectLockRetainUntilDate") if said.get("ObjectLockMode") == "COMPLIANCE" else None
        whole = said.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
        digest = base64.b64decode(said.get("ChecksumSHA256", "") if whole else "")
        return Held(_version(said), int(said["ContentLength"]), digest, until)

    def get(self, path: str, version: str = "", *, limit: int) -> bytes | None:
        """The bytes of an object, at most ``limit`` and one more; None where it, or this version, is not there."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - as above

        named = {"VersionId": version} if version else {}
        with _speaking(f"{self.url}/{path}"):
            try:
                said = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path, **named)
            except ClientError as exc:
                if _code(exc) in _GONE:
                    return None
                raise
            with contextlib.closing(said["Body"]) as body:
                raw: bytes = body.read(limit + 1)
        return raw

    def lock_of(self, path: str, version: str) -> datetime | None:
        """Until when a version is locked in compliance mode, aware UTC; None where it is not.

        Not every server says so of an older version where it is asked for the object itself.
        """
        from botocore.exceptions import ClientError  # noqa: PLC0415 - as above

        named = {"VersionId": version} if version else {}
        with _speaking(f"{self.url}/{path}"):
            try:
                said = self._client.get_object_retention(Bucket=self._bucket, Key=self._prefix + path, **named)
            except ClientError as exc:
                if _code(exc) in _GONE | {"NoSuchObjectLockConfiguration", "InvalidRequest"}:
                    return None
                raise
        found = said.get("Retention", {})
        until: datetime | None = found.get("RetainUntilDate") if found.get("Mode") == "COMPLIANCE" else None
        return until

    def extend(self, path: str, version: str, until: datetime) -> None:
        """Lock an object for longer."""
        with _speaking(f"{self.url}/{path}"):
            self._client.put_object_retention(
                Bucket=self._bucket,
                Key=self._prefix + path,
                **({"VersionId": version} if version else {}),
                Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until},
            )

    def keys(self, below: str = "", after: str = "") -> Iterator[Key]:
        """Every name below a path, in the order of the server, with its versions and whether it is hidden.

        Args:
            below: the path that names start with.
            after: a name; what comes before it, and itself, is left out.
        """
        current: Key | None = None
        marker: dict[str, str] = {"KeyMarker": self._prefix + after} if after else {}
        while True:
            with _speaking(self.url):
                page = self._client.list_object_versions(Bucket=self._bucket, Prefix=self._prefix + below, **marker)
            rows = [(row, False) for row in page.get("Versions", ())]
            rows += [(row, True) for row in page.get("DeleteMarkers", ())]
            for row, gone in sorted(rows, key=lambda one: str(one[0]["Key"])):
                path = row["Key"][len(self._prefix) :]
                if current is None or current.path != path:
                    if current is not None:
                        yield current
                    current = Key(path)
                self._add(current, row, gone=gone)
            if not page.get("IsTruncated"):
                break
            marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}
        if current is not None:
            yield current

    def tops(self) -> Iterator[str]:
        """The first element of every name, once."""
        marker: dict[str, str] = {}
        while True:
            with _speaking(self.url):
                page = self._client.list_object_versions(
                    Bucket=self._bucket, Prefix=self._prefix, Delimiter="/", **marker
                )
            for row in page.get("CommonPrefixes", ()):
                yield row["Prefix"][len(self._prefix) :].rstrip("/")
            for key in sorted({row["Key"] for row in page.get("Versions", ())}):
                yield key[len(self._prefix) :]
            if not page.get("IsTruncated"):
                return
            marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}

    @staticmethod
    def _add(key: Key, row: dict[str, Any], *, gone: bool) -> None:
        if gone:
            key.hidden = key.hidden or bool(row["IsLatest"])
            return
        key.versions.append(_version(row))
        if row["IsLatest"]:
            key.latest = _version(row)


def open_bucket(url: str, *, endpoint_url: str = "", region: str = "", ca_file: Path | None = None) -> Bucket:
    """A prefix of a bucket; nothing is asked of the server yet.

    Args:
        url: ``s3://bucket/prefix``.
        endpoint_url: of a server that is not Amazon's; by default AWS_ENDPOINT_URL.
        region: by default AWS_REGION, or that of the profile.
        ca_file: certificates that the server's is checked by; by default AWS_CA_BUNDLE, or those that boto3 brings.

    Raises:
        InputError: boto3 is not installed, or an address can't be used.
        AuditError: boto3's own configuration can't be used.
    """
    split_url(url)
    try:
        import boto3  # noqa: PLC0415 - an extra
        from botocore.config import Config  # noqa: PLC0415
    except ImportError as exc:
        raise InputError(
            "the archive needs boto3, which is not installed",
            code="boto3_missing",
            hint="Install it with `pip install 'placet[s3]'`.",
        ) from exc
    config = Config(
        retries={"max_attempts": _TRIES, "mode": "standard"},
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        max_pool_connections=_POOL,
        # Other servers are rarely reached by a name for each bucket.
        s3={"addressing_style": "path"} if endpoint_url else {},
    )
    with _speaking(url):
        try:
            # A session of its own: the shared one goes on with credentials that it has seen before.
            client = boto3.session.Session().client(
                "s3",
                endpoint_url=endpoint_url or None,
                region_name=region or None,
                verify=str(ca_file) if ca_file else None,
                config=config,
            )
        except ValueError as exc:
            raise InputError(
                "the address of the S3 server can't be used",
                hint="Write --endpoint-url as https://s3.example.org.",
            ) from exc
    return Bucket(url, client)


@contextlib.contextmanager
def _speaking(what: str) -> Iterator[None]:
    """Say in words of ours what fails of a call.

    Raises:
        AuditError: with what to do; nothing that the server or boto3 said is in it but the server's code.
    """
    from botocore import exceptions as said  # noqa: PLC0415 - boto3 only for who has a bucket

    try:
        yield
    except said.ClientError as exc:
        found = _code(exc)
        code, sentence, hint = _SAID.get(found, ("archive_failed", f"the server answers {found}", _NETWORK))
        raise AuditError(f"{what}: {sentence}", code=code, hint=hint) from None
    except (said.NoCredentialsError, said.PartialCredentialsError, said.CredentialRetrievalError) as exc:
        hint = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role gives them."
        raise AuditError(f"{what}: there are no credentials", code="archive_credentials", hint=hint) from exc
    except said.ProfileNotFound as exc:
        hint = "Look at AWS_PROFILE and the files below ~/.aws."
        raise AuditError(f"{what}: there is no such profile", code="archive_credentials", hint=hint) from exc
    except said.NoRegionError as exc:
        raise AuditError(f"{what}: no region is named", code="archive_region", hint="Set AWS_REGION.") from exc
    except said.SSLError as exc:
        hint = "Name the certificate of its authority by --ca-file or AWS_CA_BUNDLE."
        raise AuditError(f"{what}: the server's certificate is not trusted", code="archive_tls", hint=hint) from exc
    except (said.HTTPClientError, said.IncompleteReadError, said.BotoCoreError, OSError) as exc:
        raise AuditError(
            f"{what}: the S3 server can't be reached, or the connection broke ({type(exc).__name__})",
            code="archive_unavailable",
            hint=_NETWORK,
        ) from exc


def _code(exc: Any) -> str:
    found = str(exc.response.get("Error", {}).get("Code", ""))
    return found if re.fullmatch(r"[A-Za-z0-9.]{1,64}", found) else "an error"


def _version(said: dict[str, Any]) -> str:
    """``null`` is what a bucket without versions calls its only one."""
    found = str(said.get("VersionId") or "")
    return "" if found == "null" else found
