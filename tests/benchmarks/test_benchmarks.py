"""The benchmarks run, hold what they measure against what happened, and their report is of their numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_find, bench_peers, bench_replay, report
from benchmarks.load import BenchmarkError
from benchmarks.results import Spread, render_table
from benchmarks.reviews import Approvers, altered, with_foreign_image, write_reviews
from benchmarks.servers import PEERS, Gate, Site
from placet.approvals.envelope import parse_annotation
from tests.e2e.processes import program_path

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    "bench_peers",
    "bench_api",
    "bench_records",
    "bench_growth",
    "bench_append",
    "bench_commits",
    "bench_verify",
    "bench_lengths",
    "bench_threads",
    "bench_memory",
    "bench_lookups",
    "bench_find",
    "bench_replay",
    "bench_shadow",
    "report",
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_measures(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {name}.py")
    assert len(done.stdout) > 300


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_replaying_is_measured_beside_the_gate(tmp_path: Path) -> None:
    results = tmp_path / "replay.json"
    done = run("bench_replay", "--decisions", "30", "--rounds", "1", "--json", str(results))
    assert done.returncode == 0, done.stderr
    row = json.loads(results.read_text(encoding="utf-8"))["replay"]
    assert all(row[f"{name}_per_s"]["median"] > 0 for name in ("gate", "engine", "single", "replay", "same"))
    table, aim = bench_replay.render(row), bench_replay.render_aim({**row, "jobs_2_per_s": {"median": 2000.0}})
    assert table.strip() in done.stdout
    assert "| met" in aim


def test_records_are_measured_through_a_real_gate(tmp_path: Path) -> None:
    results = tmp_path / "results" / "records.json"
    done = run("bench_records", "--callers", "2", "--rounds", "1", "--seconds", "0.3", "--json", str(results))
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text(encoding="utf-8"))
    (row,) = found["records"]["rows"]
    assert found["records"]["verified_records"] >= row["gate_per_s"]["median"] * 0.3 > 0
    assert found["machine"]["cores"] <= 2
    assert "| 2 callers " in done.stdout
    assert "round 1 of 1 done" in done.stderr


def test_appends_are_measured_on_both_stores_beside_their_own_commits(tmp_path: Path) -> None:
    results = tmp_path / "commits.json"
    command = ("--callers", "2", "--rounds", "1", "--seconds", "0.1", "--lengths", "50", "100", "--json", str(results))
    done = run("bench_commits", *command)
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text(encoding="utf-8"))
    assert [(row["store"], row["callers"]) for row in found["commits"]] == [("SQLite", 2), ("PostgreSQL", 2)]
    assert all(row["ratio"]["median"] > 0 for row in found["commits"])
    grown = [(row["store"], row["records"]) for row in found["lengths"]]
    assert grown == [(store, length) for store in ("SQLite", "PostgreSQL") for length in (50, 100)]
    assert "| SQLite, 2 callers " in done.stdout


def test_verifying_is_measured_over_a_store_and_its_tiles(tmp_path: Path) -> None:
    results = tmp_path / "verify.json"
    done = run("bench_verify", "--records", "1000", "--rounds", "1", "--json", str(results))
    assert done.returncode == 0, done.stderr
    rows = json.loads(results.read_text(encoding="utf-8"))["verify"]
    assert [row["records"] for row in rows] == [1000, 1000]
    assert all(
        row[f"{name}_per_s"]["median"] > 0
        for row in rows
        for name in (
            "hashing",
            "read_and_hashed",
            "strictly",
            "verifying",
            "records",
            "leaves",
            "tiles",
            "tiles_leaves",
            "jobs_2",
        )
    )
    for name in (
        "hashing, MB/s ",
        "verifying: x strictly ",
        "verifying: x read and hashed ",
        "tiles, read and hashed ",
    ):
        assert f"| {name}" in done.stdout


def test_memory_is_measured_over_tiles_and_a_store_with_terms(tmp_path: Path) -> None:
    results = tmp_path / "lengths.json"
    done = run("bench_lengths", "--folder", str(tmp_path), "--sizes", "300", "--stores", "1100", "--json", str(results))
    assert done.returncode == 0, done.stderr
    rows = json.loads(results.read_text(encoding="utf-8"))["lengths"]
    assert [(row["record"], row["leaves"]) for row in rows] == [("nothing", 0), ("tiles", 300), ("SQLite", 1100)]
    assert all(row["most"] > 2**20 for row in rows)
    assert "| MiB at most | above nothing |" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lengths.json"]  # what was verified is gone


def test_look_ups_are_measured_with_a_memory_that_answers(tmp_path: Path) -> None:
    results = tmp_path / "lookups.json"
    done = run("bench_lookups", "--times", "5", "--json", str(results))
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text(encoding="utf-8"))["lookups"]
    assert (len(found["rows"]), found["times"]) == (2, 5)
    assert "the Deployment remembered" in done.stdout


def test_finding_is_measured_where_it_finds_what_reading_everything_does(tmp_path: Path) -> None:
    results = tmp_path / "find.json"
    done = run(
        "bench_find", "--quick", "--records", "1200", "--times", "1", "--store", "sqlite", "--json", str(results)
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text(encoding="utf-8"))["find"]
    queries = found["stores"]["sqlite"]["queries"]
    assert (found["records"], queries["role"]["pages"], queries["nowhere"]["pages"]) == (1200, 8, 16)
    assert all(one["median_ms"] <= one["worst_ms"] <= one["slowest_single_ms"] for one in queries.values())
    assert "| every pair of conditions " in done.stdout
    table, left = report.fill("<!-- made: find -->\n<!-- end -->", {"find": {"find": found}})
    assert "| all at once " in table
    assert left == []


# --- what is sent


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(Site.open(tmp_path_factory.mktemp("site")))


def test_each_cold_workload_has_signatures_of_its_own(gate: Gate) -> None:
    approvers = Approvers(gate.folder)
    made = [approvers.manifest(number, evidence=True)["metadata"]["annotations"] for number in range(1, 4)]
    signed = [value for one in made for key, value in one.items() if key.startswith(("placet.dev/approval.",))]
    assert len(signed) == len(set(signed)) == 9
    assert all(sum(key.startswith("placet.dev/evidence.") for key in one) == 4 for one in made)


def test_an_altered_approval_differs_in_one_bit_of_one_signature(gate: Gate) -> None:
    manifest = Approvers(gate.folder).manifest(0)
    before, after = manifest["metadata"]["annotations"], altered(manifest)["metadata"]["annotations"]
    assert [key for key in before if before[key] != after[key]] == ["placet.dev/approval.security"]
    old, new = (parse_annotation(each["placet.dev/approval.security"]) for each in (before, after))
    assert old.payload == new.payload
    bits = [(a ^ b).bit_count() for a, b in zip(old.signatures[0].sig, new.signatures[0].sig, strict=True)]
    assert sum(bits) == 1


def test_the_rules_of_the_others_allow_the_review_and_refuse_a_forbidden_image(gate: Gate, tmp_path: Path) -> None:
    manifest = Approvers(gate.folder).manifest(0)
    rules = (PEERS / "guard.rego").read_text(encoding="utf-8")
    assert rules.count("input.review\n") == 1, "the one line that differs between OPA and Gatekeeper"
    (tmp_path / "guard.rego").write_text(rules.replace("input.review\n", "input.request\n"), encoding="utf-8")
    found = []
    for each in (manifest, with_foreign_image(manifest)):
        write_reviews(tmp_path / "review.json", [each])
        paths = ["--data", str(tmp_path / "guard.rego"), "--data", str(PEERS / "main.rego")]
        command = [str(program_path("opa")), "eval", "--strict-builtin-errors", *paths, "--format=raw"]
        answer = subprocess.run(
            [*command, "--input", str(tmp_path / "review.json"), "data.system.main.response"],
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(answer.stdout))
    assert [one["allowed"] for one in found] == [True, False]
    assert "not from an allowed registry" in found[1]["status"]["message"]


# --- what is held


def test_an_answer_without_a_record_is_no_measurement(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = bench_peers.Arena([], gate, (1, 2), expected=3)
    monkeypatch.setattr(gate, "records", lambda: 2)
    with pytest.raises(BenchmarkError, match="allowed 3 reviews, and its record has 2"):
        arena.require_recorded()


def test_a_pool_that_the_gate_would_remember_is_no_cold_measurement() -> None:
    with pytest.raises(BenchmarkError, match="too few"):
        bench_peers.require_cold(100)
    bench_peers.require_cold(1500)


# --- what is told


def test_a_spread_is_its_median_least_and_most() -> None:
    assert str(Spread.of([3000.4, 1000.0, 2000.0])) == "2,000 (1,000 to 3,000)"
    assert str(Spread.of([7.0])) == "7"


def test_a_table_stands_in_columns() -> None:
    assert render_table(["a", "b"], [["one", "1"], ["x", "1,000"]]) == (
        "| a   |     b |\n|-----|------:|\n| one |     1 |\n| x   | 1,000 |\n"
    )


def results(*, rate: float, added: float, growth: float) -> dict[str, Any]:
    """Results in which Gatekeeper reaches 1000 reviews a second and adds 2 ms."""

    def row(name: str, per_s: float) -> dict[str, Any]:
        spread = Spread.of([per_s]).as_json()
        keyed = {key: {"per_s": spread, "cpu_us": spread} for key in ("1", "8", "evidence")}
        return {"name": name, **keyed, "steady": {"p50_ms": spread, "p99_ms": spread, "cpu_us": spread}}

    def lane(name: str, p50: float) -> dict[str, Any]:
        return {"name": name, **{kind: {"p50_ms": p50, "p90_ms": p50} for kind in ("create", "update")}}

    ours = ("placet, cold", "placet, cold, two replicas", "placet, warm", "placet, warm, two replicas")
    rows = [row("Gatekeeper", 1000), *(row(name, rate) for name in ours)]
    sizes = {"review_bytes": 9000, "evidence_bytes": 14000, "evidence_callers": 8, "steady_per_s": 50}
    return {
        "peers": {"quick": False, "peers": {"callers": [1, 8], "rows": rows, **sizes}},
        "api": {"api": {"rows": [lane("no webhook", 3), lane("Gatekeeper", 5), lane("placet", 3 + added)]}},
        "growth": {
            "growth": [
                {"records": 1000, "cpu_us": Spread.of([1000]).as_json()},
                {"records": 100_000, "cpu_us": Spread.of([1000 * growth]).as_json()},
            ]
        },
    }


@pytest.mark.parametrize(
    ("given", "verdicts"),
    [
        ({"rate": 1500, "added": 2, "growth": 1.1}, ["met", "met", "met", "met", "met", "met", "met"]),
        ({"rate": 1499, "added": 2.01, "growth": 1.11}, ["met", "met", *["missed"] * 5]),
        ({"rate": 999, "added": 1, "growth": 0.9}, [*["missed"] * 4, "met", "met", "met"]),
    ],
)
def test_an_aim_is_met_or_missed_by_the_numbers(given: dict[str, float], verdicts: list[str]) -> None:
    lines = report.render_aims(results(**given)).splitlines()[2:]
    assert [line.split("|")[3].strip() for line in lines] == verdicts


def test_an_aim_that_some_rates_miss_is_met_in_part() -> None:
    given = results(rate=1500, added=1, growth=1)
    given["peers"]["peers"]["rows"][1]["8"]["per_s"] = Spread.of([900]).as_json()
    cold = report.render_aims(given).splitlines()[2]
    assert "1.50 / 0.90 at 1 / 8 callers" in cold
    assert "met in part" in cold


def audited(*, ratio: float, growth: float, per_s: float, most: float) -> dict[str, Any]:
    """Results of ``make bench-audit``."""
    spread = Spread.of
    row = {"bare_per_s": spread([100]).as_json(), "log_per_s": spread([50]).as_json()}
    commits = [
        {"store": store, "callers": callers, "ratio": spread([value]).as_json(), **row}
        for store, callers, value in (("SQLite", 1, ratio), ("SQLite", 8, 0.6), ("PostgreSQL", 1, ratio))
    ]
    lengths = [
        {"store": store, "records": length, "cpu_ratio": spread([cpu]).as_json(), "ratio": spread([time]).as_json()}
        for store, length, cpu, time in (
            ("SQLite", 1000, 1.0, 1.0),
            ("SQLite", 10**6, growth, 3.0),
            ("PostgreSQL", 1000, 1.0, 1.0),
            ("PostgreSQL", 10**6, 1.0, growth),
        )
    ]
    verified = [
        {"leaf_bytes": 2700}
        | {
            f"{name}_per_s": spread([per_s]).as_json()
            for name in ("leaves", "records", "verifying", "tiles_leaves", "tiles")
        }
    ]
    taken = [
        {"record": kind, "leaves": leaves, "most": size * 2**20}
        for kind, leaves, size in (("tiles", 10, 50), ("tiles", 10**7, most), ("SQLite", 10, 50), ("SQLite", 20, 50))
    ]
    return {
        "commits": {"commits": commits, "lengths": lengths},
        "verify": {"verify": verified},
        "lengths": {"lengths": taken},
    }


@pytest.mark.parametrize(
    ("given", "verdicts"),
    [
        ({"ratio": 0.5, "growth": 1.1, "per_s": 100_000, "most": 55}, ["met"] * 11),
        (
            {"ratio": 0.49, "growth": 1.11, "per_s": 99_999, "most": 56},
            ["met in part", *["missed"] * 9, "met"],
        ),
    ],
)
def test_an_aim_of_the_record_is_met_or_missed_by_the_numbers(given: dict[str, float], verdicts: list[str]) -> None:
    lines = report.render_audit_aims(audited(**given)).splitlines()[2:]
    assert [line.split("|")[3].strip() for line in lines] == verdicts
    assert "1,000 and 1,000,000 leaves" in lines[2]
    assert f"50 / {given['most']} MiB for 10 / 10,000,000 leaves" in lines[9]


@pytest.mark.parametrize(("load", "said"), [(0.4, False), (7.5, True)])
def test_what_was_taken_beside_other_work_says_so(load: float, said: bool) -> None:
    machine = {"cpu": "x", "cores": 2, "memory_gib": 4, "kernel": "k", "file_system": "ext4", "commits_per_s": 9.0}
    machine |= {"load_average": load, "taken": "2026", "versions": {"placet": "1"}}
    table = report.render_audit_machine({"commits": {"machine": machine}, "verify": {}})
    assert ("Taken beside other work" in table) == said


def test_the_report_fills_what_was_measured_and_names_the_rest() -> None:
    text = "a\n<!-- made: aims -->\nold\n<!-- end -->\nb\n<!-- made: records -->\nold records\n<!-- end -->\n"
    filled, left = report.fill(text, results(rate=1500, added=2, growth=1))
    assert "old\n" not in filled
    assert "| aim " in filled
    assert "old records" in filled
    assert left == ["records (no results of 'records')"]
    again, _ = report.fill(filled, results(rate=1500, added=2, growth=1))
    assert again == filled


@pytest.mark.parametrize(
    ("records", "worst_ms", "aim_ms", "verdict"),
    [
        (10**6, [99.9, 20.0], 100, "met"),
        (10**6, [100.0, 20.0], 100, "met in part"),
        (10**6, [100.0, 300.0], 100, "missed"),
        (10**7, [999.0, 20.0], 1000, "met"),
        (10**8, [999.0, 20.0], 1000, "met"),
    ],
)
def test_an_aim_of_finding_is_met_or_missed_by_the_worst_page(
    records: int, worst_ms: list[float], aim_ms: int, verdict: str
) -> None:
    kinds = {f"kind {number}": {"worst_ms": one, "pages": 500} for number, one in enumerate(worst_ms)}
    for one in kinds.values():
        one["worst_undisturbed_ms"] = one["worst_ms"] - 10
    store = {"records": records, "queries": kinds, "load_averages": [0.1, 0.9]}
    ((said, out, met),) = bench_find.render_aims({"records": records, "stores": {"sqlite": store}})
    assert said == f"sqlite: every query's page in {aim_ms:,} ms at {records:,} records"
    worst = max(worst_ms)
    assert out.startswith(f"the worst of 1,000 pages {worst:.0f} ms (kind {worst_ms.index(worst)}), ")
    assert out.endswith(f"undisturbed {worst - 10:.0f} ms, load average 0.1 to 0.9")
    assert met == verdict


def test_runs_of_the_longest_record_are_told_together(tmp_path: Path) -> None:
    for name, records in (("sqlite", 10**7), ("postgresql", 10**7), ("sqlite", 2 * 10**6)):
        found = {"find": {"records": records, "stores": {name: {"records": records}}}}
        (tmp_path / f"find-{records}-{name}.json").write_text(json.dumps(found), encoding="utf-8")
    large = report.load_results(tmp_path)["find-large"]["find"]
    assert large["records"] == 10**7
    assert set(large["stores"]) == {"sqlite", "postgresql"}


def test_the_document_has_a_place_for_every_table() -> None:
    document = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert {block["name"] for block in report.BLOCK.finditer(document)} == set(report.TABLES)
