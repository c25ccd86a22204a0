"""The archive as somebody uses it who has a terminal: commands, and what they say where something is wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from placet.audit.archive.bucket import Bucket, split_url
from placet.cli import root
from placet.errors import AuditError, InputError
from tests.e2e.processes import poll_until
from tests.simulators.s3 import SECRET, Intruder, S3Server
from tests.simulators.tampering import LOG_KEY, build_log, copy_of

VKEY: Final = str(LOG_KEY.verifier)
_WAIT_S: Final = 30.0


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_log(tmp_path_factory.mktemp("log") / "record.db", size=8, signed=(5, 8))


@pytest.fixture(autouse=True)
def environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["audit", *map(str, arguments)], catch_exceptions=False)


def _archive(url: str, record: Path, *more: object) -> Result:
    return run("archive", url, "--store", record, "--log-key", VKEY, *more)


def test_archive_verify_and_restore_from_a_terminal(s3: S3Server, record: Path, tmp_path: Path) -> None:
    url = s3.make_bucket().url
    done = _archive(url, record, "-o", "json")
    assert done.exit_code == 0
    value = json.loads(done.stdout)
    assert (value["schema"], value["size"], value["manifests"]) == ("placet.dev/audit-archive/v1", 8, 1)
    assert _archive(url, record).stdout == f"8 leaves of placet.dev/log/test are archived in {url} already\n"
    found = run("verify", "--tiles", url, "--log-key", VKEY)
    assert (found.exit_code, found.stdout.splitlines()[-1]) == (0, "VERIFIED")
    back = run("restore", url, tmp_path / "back.db", "--log-key", VKEY, "-o", "json")
    assert back.exit_code == 0
    assert (
        json.loads(back.stdout)["root"]
        == json.loads(run("verify", "--store", record, "--log-key", VKEY, "-o", "json").stdout)["root"]
    )


def test_verify_of_a_touched_archive_fails(s3: S3Server, record: Path) -> None:
    bucket = s3.make_bucket()
    _archive(bucket.url, record)
    Intruder(s3, bucket).hide("tile/0/000.p/8")
    found = run("verify", "--tiles", bucket.url, "--log-key", VKEY)
    assert found.exit_code == 1
    assert "object_hidden" in found.stdout


def test_a_bucket_without_locks_has_to_be_asked_for_and_is_said_aloud(s3: S3Server, record: Path) -> None:
    url = s3.make_bucket(locked=False).url
    refused = _archive(url, record)
    assert refused.exit_code == 2
    assert "Object Lock" in refused.output
    assert "--unlocked" in refused.output
    done = _archive(url, record, "--unlocked")
    assert done.exit_code == 0
    assert "WARNING: nothing is locked" in done.stderr
    assert "not locked" in done.stdout


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "there are no credentials"),
        ({"AWS_PROFILE": "nobody"}, "no such profile"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "does not accept the signature"),
        ({"AWS_ACCESS_KEY_ID": "who-is-it"}, "does not know these credentials"),
    ],
)
def test_credentials_that_do_not_work_are_named_and_never_shown(
    s3: S3Server, record: Path, environment: pytest.MonkeyPatch, changes: dict[str, str | None], words: str
) -> None:
    for name, value in changes.items():
        environment.delenv(name) if value is None else environment.setenv(name, value)
    for done in (
        _archive(s3.make_bucket().url, record),
        run("verify", "--tiles", "s3://records-1/prod", "--log-key", VKEY),
    ):
        assert done.exit_code == 2
        assert words in done.output
        assert "Traceback" not in done.output
        assert SECRET not in done.output
        assert "wrong-secret" not in done.output


def test_without_boto3_it_says_how_to_get_it(record: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setitem(sys.modules, "boto3", None)
    done = _archive("s3://records-1/prod", record)
    assert done.exit_code == 2
    assert "pip install 'placet[s3]'" in done.output


def test_a_server_that_is_not_there_is_named(record: Path, environment: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        environment.setenv("AWS_MAX_ATTEMPTS", "1")
        done = run("verify", "--tiles", "s3://records-1/prod", "--log-key", VKEY)
    assert done.exit_code == 2
    assert "can't be reached" in done.output
    assert "Traceback" not in done.output


def test_what_is_not_there_is_named(s3: S3Server, record: Path, tmp_path: Path) -> None:
    gone = _archive("s3://no-such-bucket/prod", record)
    assert gone.exit_code == 2
    assert "no such bucket" in gone.output
    empty = s3.make_bucket().url
    for done in (
        run("verify", "--tiles", empty, "--log-key", VKEY),
        run("restore", empty, tmp_path / "back.db", "--log-key", VKEY),
    ):
        assert done.exit_code == 2
        assert "has no archive" in done.output
    assert not (tmp_path / "back.db").exists()


@pytest.mark.parametrize("url", ["s3://", "s3://UPPER/x", "s3://a/b", "s3://bucket//x", "s3://bucket/a b", "bucket/x"])
def test_what_names_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        split_url(url)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("AccessDenied", "archive_denied"),
        ("RequestTimeTooSkewed", "archive_clock"),
        ("ExpiredToken", "archive_credentials"),
        ("PermanentRedirect", "archive_region"),
        ("NotImplemented", "archive_unsupported"),
        ("SlowDown", "archive_unavailable"),
        ("InternalError", "archive_failed"),
        ("<script>", "archive_failed"),
    ],
)
def test_what_a_server_says_is_told_in_words_of_ours(said: str, code: str) -> None:
    class Refusing:
        def __getattr__(self, name: str) -> Any:
            def called(**_named: Any) -> Any:
                raise ClientError({"Error": {"Code": said, "Message": "for AKIASECRET"}}, name)

            return called

    with pytest.raises(AuditError) as caught:
        Bucket("s3://records/prod", Refusing()).put("a", b"x", locked_until=None)
    assert caught.value.code == code
    assert caught.value.hint
    assert "AKIASECRET" not in str(caught.value) + caught.value.hint
    assert "<" not in str(caught.value)


def test_watch_exports_archives_and_ends_when_it_is_told(s3: S3Server, record: Path, tmp_path: Path) -> None:
    bucket = s3.make_bucket()
    command = [sys.executable, "-m", "placet", "audit", "archive", bucket.url, "--store", copy_of(record, tmp_path)]
    intruder = Intruder(s3, bucket)
    with subprocess.Popen(
        [*map(str, command), "--log-key", VKEY, "--watch"],
        env={**os.environ, **s3.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert poll_until(lambda: "manifest/00000000" in intruder.paths("manifest/"), _WAIT_S)
            assert intruder.paths("checkpoints/") == ["checkpoints/5", "checkpoints/8"]
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=_WAIT_S)
        finally:
            process.kill()
    assert process.returncode == 0
    assert out.startswith("archived 8 leaves")
