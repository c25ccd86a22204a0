"""What no archive holds is not removed from the record, but by an explicit word."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import yaml
from click.testing import CliRunner, Result

from placet.audit.archive.coverage import find_unarchived
from placet.audit.archive.upload import write_archive
from placet.audit.location import open_reader
from placet.audit.log import AuditLog
from placet.audit.pruning import Removal
from placet.cli import audit_prune, root
from placet.errors import TamperError
from tests.simulators.aged import NOW, SIZE, build_aged
from tests.simulators.s3 import Intruder, S3Server
from tests.simulators.tampering import LOG_KEY, ORIGIN, OTHER_KEY, append, build_log, copy_of

KEYS: Final = [LOG_KEY.verifier]
ALL: Final = [Removal(((0, SIZE),), {})]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_aged(tmp_path_factory.mktemp("aged") / "record.db")


@pytest.fixture(autouse=True)
def environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(audit_prune, "now", lambda: NOW)


def archive(s3: S3Server, store: Path) -> str:
    bucket = s3.make_bucket()
    write_archive(bucket, partial(open_reader, store), KEYS, locked_until=NOW + timedelta(days=4000), now=NOW)
    return bucket.url


def prune(config: Path, *options: object) -> Result:
    words = ["audit", "prune", "--config", str(config), "--log-key", str(LOG_KEY.verifier), "--wait", "0"]
    return CliRunner().invoke(root, [*words, *map(str, options)], catch_exceptions=False)


def configured(folder: Path, store: Path, url: str, endpoint: str) -> Path:
    value = {
        "cluster": "prod-eu-1",
        "keyring": {"file": "k", "roots": ["r"], "threshold": 1},
        "record": {
            "store": str(store), "log_key": "l", "origin": ORIGIN, "archive": {"url": url, "endpoint_url": endpoint},
        },
    }  # fmt: skip
    file = folder / "placet.yaml"
    file.write_text(yaml.safe_dump(value))
    return file


def test_what_was_not_archived_is_named_and_stays_until_it_is(s3: S3Server, record: Path, tmp_path: Path) -> None:
    store = copy_of(record, tmp_path)
    empty = s3.make_bucket().url
    config = configured(tmp_path, store, empty, s3.endpoint)
    shown = prune(config)
    assert shown.exit_code == 0, shown.output
    assert f"the archive {empty} does not hold" in shown.stderr
    refused = prune(config, "--yes", "--by", "sam")
    assert refused.exit_code == 2
    assert "nothing was removed" in refused.stderr
    assert "--not-archived" in refused.stderr
    with open_reader(store) as reader:
        assert reader.state().size == SIZE, "not even announced"
    config = configured(tmp_path, store, archive(s3, store), s3.endpoint)
    done = prune(config, "--yes", "--by", "sam")
    assert done.exit_code == 1, done.output
    assert "No checkpoint signs yet" in done.stderr


def test_the_explicit_word_removes_what_is_nowhere_else(s3: S3Server, record: Path, tmp_path: Path) -> None:
    store = copy_of(record, tmp_path)
    config = configured(tmp_path, store, s3.make_bucket().url, s3.endpoint)
    assert prune(config, "--yes", "--by", "sam", "--not-archived").exit_code == 1, "announced"


def test_the_first_index_that_is_missing_is_named(s3: S3Server, record: Path, tmp_path: Path) -> None:
    url = archive(s3, record)
    bucket = s3.bucket(url)
    grown = copy_of(record, tmp_path)
    log = AuditLog.open(grown, origin=ORIGIN, key=LOG_KEY)
    append(log, 900)
    append(log, 901)
    log.checkpoint()
    log.close()
    with open_reader(grown) as reader:
        assert find_unarchived(bucket, KEYS, reader, ALL) is None
        assert find_unarchived(bucket, KEYS, reader, [Removal(((0, SIZE + 2),), {})]) == (SIZE, "leaf")
        assert find_unarchived(bucket, KEYS, reader, [Removal((), {"input": ((SIZE + 1, SIZE + 2),)})]) == (
            SIZE + 1,
            "input",
        )
        assert find_unarchived(s3.make_bucket(), KEYS, reader, [Removal(((2, 4),), {})]) == (2, "leaf")


def test_an_archive_that_somebody_touched_or_of_another_log_holds_nothing(
    s3: S3Server, record: Path, tmp_path: Path
) -> None:
    url = archive(s3, record)
    with open_reader(record) as reader:
        with pytest.raises(TamperError, match="no trusted key"):
            find_unarchived(s3.bucket(url), [OTHER_KEY.verifier], reader, ALL)
        other = build_log(tmp_path / "other.db", size=SIZE, signed=(SIZE,))
        with pytest.raises(TamperError) as caught:
            find_unarchived(s3.bucket(archive(s3, other)), KEYS, reader, ALL)
        assert caught.value.code == "history_differs"
        Intruder(s3, s3.bucket(url)).write("manifest/00000000", b"{}")
        with pytest.raises(TamperError) as touched:
            find_unarchived(s3.bucket(url), KEYS, reader, ALL)
        assert touched.value.code == "object_overwritten"
