"""One S3 server for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulators.s3 import S3Server, running_s3


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server; what a test makes in it has a bucket of its own."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server
