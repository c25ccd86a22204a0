"""The load generator counts what happened, and a benchmark that did not measure what it says prints nothing."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks.load import UID_PLACE, BenchmarkError, Server, ask, cpu_seconds, drive, require
from benchmarks.reviews import write_reviews
from benchmarks.servers import Site, running_allow
from tests.e2e.controlplane import ServingCertificate
from tests.e2e.processes import poll_until
from tests.e2e.reviewserver import ReviewServer
from tests.simulators.gate import example, review


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site.open(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def allow(site: Site) -> Iterator[Server]:
    with running_allow(site) as server:
        yield server


@pytest.fixture(scope="module")
def reviews(site: Site) -> Path:
    file = site.folder / "reviews.jsonl"
    write_reviews(file, [example(), example()])
    return file


def test_a_review_has_one_place_for_its_uid(reviews: Path) -> None:
    lines = reviews.read_text(encoding="utf-8").splitlines()
    assert [line.count(UID_PLACE) for line in lines] == [1, 1]
    assert json.loads(lines[0])["request"]["uid"] == UID_PLACE


def test_answers_are_counted_and_timed_and_their_cpu_is_the_servers(allow: Server, reviews: Path) -> None:
    started = time.monotonic()
    run = drive(allow, reviews, callers=4, seconds=0.5)
    assert run.answered > run.per_s * 0.4 > 0, "the warm-up's answers count, but not in the rate"
    assert 0 < run.p50_us <= run.p99_us < (time.monotonic() - started) * 1e6
    assert 0 < run.cpu_us < 1e6
    assert run.tls.startswith("TLS 1.3")


def test_a_fixed_rate_is_kept(allow: Server, reviews: Path) -> None:
    run = drive(allow, reviews, callers=2, seconds=0.7, rate=100)
    assert run.answered == 100, "0.3 s of warm-up and 0.7 s, 100 a second"


def test_callers_are_shared_out_among_the_processes_of_a_server(site: Site, reviews: Path) -> None:
    with running_allow(site) as first, running_allow(site) as second:
        run = drive(replace(first, others=(second,)), reviews, callers=2, seconds=0.3)
        reached = [_calls_of(server) for server in (first, second)]
        assert replace(first, others=(second,)).cpu_seconds() >= max(cpu_seconds(first.pid), cpu_seconds(second.pid))
    assert min(reached) > 0
    assert sum(reached) == run.answered


def _calls_of(server: Server) -> int:
    """Reviews that the webhook that allows everything has answered."""
    parts = urlsplit(server.url)
    context = ssl.create_default_context(cafile=server.ca_file)
    connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=30, context=context)
    connection.request("GET", "/protocols")
    found: dict[str, int] = json.loads(connection.getresponse().read())
    connection.close()
    return sum(found.values())


def test_an_answer_that_is_not_expected_is_no_measurement(allow: Server, reviews: Path) -> None:
    with pytest.raises(BenchmarkError, match="not refused"):
        drive(allow, reviews, callers=1, seconds=0.1, expect="refused")
    with pytest.raises(BenchmarkError, match="was to refuse"):
        require(allow, review(example()), allowed=False)


def test_a_server_that_answers_another_review_is_no_measurement(site: Site, reviews: Path) -> None:
    certificate = ServingCertificate(site.files.certificate, site.files.key, site.ca_file.read_bytes())
    with ReviewServer(certificate, lambda _: {"uid": "another", "allowed": True}) as lying:
        port = int(lying.url.partition("127.0.0.1:")[2].partition("/")[0])
        server = Server("lying", f"https://{site.host}:{port}/", 1, site.ca_file)
        assert ask(server, review(example()))["uid"] == "another"
        with pytest.raises(BenchmarkError, match="does not answer the review"):
            drive(server, reviews, callers=1, seconds=0.2)


def test_a_server_that_is_gone_is_no_measurement(site: Site, allow: Server, reviews: Path) -> None:
    gone = replace(allow, url=f"https://{site.host}:1/")
    with pytest.raises(BenchmarkError, match="connection refused"):
        drive(gone, reviews, callers=1, seconds=0.1)
    with pytest.raises(BenchmarkError, match="has ended"):
        cpu_seconds(2**22 + 1)


SPINNING: Any = """
import subprocess, sys, time
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, "-S", __file__, "child"])
    child.wait()
    time.sleep(60)
end = time.process_time() + 0.4
while time.process_time() < end:
    pass
"""


def test_cpu_of_children_counts_while_they_run_and_after(tmp_path: Path) -> None:
    script = tmp_path / "spin.py"
    script.write_text(SPINNING, encoding="utf-8")
    with subprocess.Popen([sys.executable, "-S", script]) as process:
        try:
            assert poll_until(lambda: cpu_seconds(process.pid) > 0.2, 30)
            assert poll_until(lambda: not _children(process.pid), 30)
            assert cpu_seconds(process.pid) >= 0.35
        finally:
            process.kill()


def _children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
