"""An S3 server with a certificate of an authority of one's own: trusted where that is named, and told nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml
from click.testing import CliRunner, Result

from placet.audit.stores.file import open_readonly
from placet.cli import audit_prune, root
from tests.e2e.authority import Authority
from tests.simulators.aged import NOW, SIZE, build_aged
from tests.simulators.s3 import S3Server, ServedBy, running_s3
from tests.simulators.tampering import LOG_KEY, ORIGIN

VKEY: Final = str(LOG_KEY.verifier)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServedBy:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder, "s3-ca")
    files = authority.server(["127.0.0.1"])
    return ServedBy(files.certificate, files.key, authority.path)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority that has signed nothing here."""
    return Authority(tmp_path_factory.mktemp("other"), "other-ca").path


@pytest.fixture(scope="module")
def s3_over_tls(tmp_path_factory: pytest.TempPathFactory, served: ServedBy) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3tls"), served) as server:
        yield server


@pytest.fixture(autouse=True)
def environment(s3_over_tls: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_over_tls.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(audit_prune, "now", lambda: NOW)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["audit", *map(str, arguments)], catch_exceptions=False)


def test_an_authority_that_is_named_is_trusted_and_another_one_refused_with_a_sentence(
    s3_over_tls: S3Server, served: ServedBy, stranger: Path, tmp_path: Path
) -> None:
    assert s3_over_tls.endpoint.startswith("https://")
    record = build_aged(tmp_path / "record.db")
    url = s3_over_tls.make_bucket().url
    archive = ("archive", url, "--store", record, "--log-key", VKEY)
    for wrong in ((), ("--ca-file", stranger)):
        refused = run(*archive, *wrong)
        assert refused.exit_code == 2
        assert "the server's certificate is not trusted" in refused.stderr
        assert "--ca-file" in refused.stderr
    done = run(*archive, "--ca-file", served.authority)
    assert done.exit_code == 0, done.output

    for ca, said in ((stranger, "is not trusted"), (served.authority, "Nothing was changed; --yes")):
        value = {
            "cluster": "prod-eu-1",
            "keyring": {"file": "k", "roots": ["r"], "threshold": 1},
            "record": {
                "store": str(record), "log_key": "l", "origin": ORIGIN,
                "archive": {"url": url, "endpoint_url": s3_over_tls.endpoint, "ca_file": str(ca)},
            },
        }  # fmt: skip
        file = tmp_path / "placet.yaml"
        file.write_text(yaml.safe_dump(value))
        looked = run("prune", "--config", file, "--log-key", VKEY)
        assert (looked.exit_code, said in looked.stderr) == (2 if ca is stranger else 0, True), looked.output
        assert "does not hold" not in looked.stderr
    with open_readonly(record) as reader:
        assert reader.state().size == SIZE
