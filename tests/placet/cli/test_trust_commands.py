"""keys, keyring, verify and revoke, run as a person runs them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from placet.approvals.keyring import load_roots, verify_keyring
from placet.approvals.revocations import load_revocations
from placet.approvals.verify import check_approvals
from tests.placet.cli.conftest import Clock, Run
from tests.placet.cli.trust import approved, manifest, trusted, workload
from tests.simulators.desk import NOON, ApprovalDesk, Revocations, signer_of

# -- keys


def test_keys_are_made_encrypted_shown_and_never_overwritten(run: Run, tmp_path: Path) -> None:
    made = json.loads(run("keys", "generate", "--out", "alice.key", "-o", "json").stdout)
    assert b"ENCRYPTED" in (tmp_path / "alice.key").read_bytes()
    assert (tmp_path / "alice.key").stat().st_mode & 0o777 == 0o600
    for file in ("alice.key", "alice.pub"):
        assert json.loads(run("keys", "show", file, "-o", "json").stdout) == made
    assert run("keys", "show", "alice.key", "-o", "pem").stdout == (tmp_path / "alice.pub").read_text()
    again = run("keys", "generate", "--out", "alice.key", code=2)
    assert "exists already" in again.stderr
    assert "Traceback" not in again.stderr


def test_a_key_may_be_left_open_when_it_is_said(run: Run, tmp_path: Path) -> None:
    result = run("keys", "generate", "--scheme", "ecdsa-p256-sha256", "--out", "ci.key", "--no-passphrase")
    assert "not encrypted" in result.stderr
    assert b"BEGIN PRIVATE KEY" in (tmp_path / "ci.key").read_bytes()


def test_a_passphrase_comes_from_a_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLACET_KEY_PASSPHRASE")
    (tmp_path / "pass").write_text("secret\n")
    run("keys", "generate", "--out", "a.key", "--passphrase-file", "pass")
    run("keys", "show", "a.key", "--passphrase-file", "pass")
    assert "nobody is there to be asked" in run("keys", "show", "a.key", code=2).stderr
    (tmp_path / "pass").write_text("\n")
    assert "is empty" in run("keys", "generate", "--out", "b.key", "--passphrase-file", "pass", code=2).stderr
    assert not (tmp_path / "b.key").exists()


def test_a_wrong_passphrase_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("keys", "generate", "--out", "a.key")
    monkeypatch.setenv("PLACET_KEY_PASSPHRASE", "wrong")
    assert "does not open the private key" in run("keys", "show", "a.key", code=2).stderr


def test_importing_without_the_vendor_s_package_says_what_to_install(run: Run) -> None:
    assert "pip install boto3" in run("keys", "import", "awskms:alias/x", "--out", "x.pub", code=2).stderr


# -- keyring


def test_a_keyring_from_nothing_to_signed(run: Run, tmp_path: Path, still: Clock) -> None:
    for name in ("root-1", "root-2", "alice", "ci"):
        run("keys", "generate", "--out", f"{name}.key")
    run("keyring", "init")
    run("keyring", "add", "alice@example.org", "--person", "p-alice", "--key", "alice.pub", "--username", "oidc:alice")
    run(
        "keyring", "grant", "alice@example.org", "--role", "technical", "--environment", "production",
        "--max-risk", "high", "--model", "llama-3.1-70b", "--namespace", "ml",
    )  # fmt: skip
    run("keyring", "add", "ci@example.org", "--person", "m-ci", "--key", "ci.pub")
    run("keyring", "grant", "ci@example.org", "--fact", "coverage", "--fact", "rollback")
    source = (tmp_path / "keyring.yaml").read_text()
    assert source.startswith("# The keyring's source.")
    roots = ["--root", "root-1.pub", "--root", "root-2.pub"]

    run("keyring", "sign", "--key", "root-1.key")
    half = run("keyring", "verify", *roots, code=1)
    assert "1 of the 2 root signatures" in half.stdout
    run("keyring", "sign", "--key", "root-2.key")
    assert "verified" in run("keyring", "verify", *roots).stdout
    assert json.loads(run("keyring", "verify", *roots, "-o", "json").stdout)["version"] == 1

    pinned = load_roots([tmp_path / "root-1.pub", tmp_path / "root-2.pub"])
    keyring = verify_keyring((tmp_path / "keyring.dsse.json").read_bytes(), roots=pinned, threshold=2, now=NOON)
    (grant,) = keyring.identities["alice@example.org"].grants
    assert (grant.role, grant.max_risk, grant.models, grant.namespaces) == (
        "technical", "high", ("llama-3.1-70b",), ("ml",),
    )  # fmt: skip
    assert keyring.identities["ci@example.org"].attests[0].facts == ("coverage", "rollback")
    shown = run("keyring", "show").stdout
    assert "alice@example.org" in shown
    assert "attests  coverage, rollback" in shown

    still.now += timedelta(days=1)
    fingerprint = keyring.identities["alice@example.org"].keys[0].public_key.fingerprint
    run("keyring", "revoke-key", fingerprint[:12], "--as", "superseded")
    assert "Raise the version first" in run("keyring", "sign", "--key", "root-1.key", code=2).stderr
    run("keyring", "revoke-approval", "5f0cbb0e-9d0c-4dd8-9d0a-6a2b7c6f1d11")
    run("keyring", "renew")
    run("keyring", "sign", "--key", "root-1.key")
    run("keyring", "sign", "--key", "root-2.key")
    assert "version 2" in run("keyring", "verify", *roots, "--minimum-version", "2").stdout
    rollback = run("keyring", "verify", *roots, "--minimum-version", "3", "-o", "json", code=1)
    assert json.loads(rollback.stdout)["code"] == "keyring_rollback"


def test_comments_of_the_source_stay(run: Run, tmp_path: Path) -> None:
    run("keys", "generate", "--out", "alice.key")
    run("keyring", "init")
    file = tmp_path / "keyring.yaml"
    file.write_text(file.read_text().replace("thresholds:", "# two eyes for security\nthresholds:"))
    run("keyring", "add", "alice@example.org", "--person", "p-alice", "--key", "alice.pub")
    assert "# two eyes for security\nthresholds:" in file.read_text()


GRANT = ("--role", "security", "--environment", "production", "--environment", "staging", "--max-risk", "high")


@pytest.mark.parametrize(
    "again",
    [
        GRANT,
        ("--max-risk", "high", "--environment", "staging", "--environment", "production", "--role", "security"),
        (*GRANT, "--model", "*", "--namespace", "*"),
    ],
    ids=["same", "in-another-order", "with-defaults-typed"],
)
def test_a_grant_on_the_same_terms_is_not_listed_twice(run: Run, tmp_path: Path, again: tuple[str, ...]) -> None:
    file = granted(run, tmp_path)
    before = file.read_bytes(), file.stat().st_mtime_ns
    result = run("keyring", "grant", "alice@example.org", *again)
    assert "granted on these terms already; nothing is written" in result.stderr
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    "other",
    [
        ("--role", "security", "--environment", "production", "--environment", "staging", "--max-risk", "critical"),
        ("--role", "security", "--environment", "production", "--max-risk", "high"),
        (*GRANT, "--namespace", "ml"),
        ("--role", "technical", *GRANT[2:]),
    ],
    ids=["max-risk", "environments", "namespaces", "role"],
)
def test_a_grant_on_other_terms_stands_beside_the_first(run: Run, tmp_path: Path, other: tuple[str, ...]) -> None:
    file = granted(run, tmp_path)
    assert "it counts once the keyring is signed" in run("keyring", "grant", "alice@example.org", *other).stderr
    (identity,) = yaml.safe_load(file.read_text())["identities"]
    assert len(identity["grants"]) == 2


def test_facts_on_the_same_terms_are_not_listed_twice(run: Run, tmp_path: Path) -> None:
    file = granted(run, tmp_path)
    run("keyring", "grant", "alice@example.org", "--fact", "coverage", "--fact", "rollback")
    once = file.read_text()
    again = run("keyring", "grant", "alice@example.org", "--fact", "rollback", "--fact", "coverage")
    assert "already" in again.stderr
    assert file.read_text() == once
    run("keyring", "grant", "alice@example.org", "--fact", "coverage")
    assert len(yaml.safe_load(file.read_text())["identities"][0]["attests"]) == 2


def granted(run: Run, folder: Path) -> Path:
    """A source with one grant and a layout of its own."""
    run("keys", "generate", "--out", "alice.key")
    run("keyring", "init")
    run("keyring", "add", "alice@example.org", "--person", "p-alice", "--key", "alice.pub")
    run("keyring", "grant", "alice@example.org", *GRANT)
    file = folder / "keyring.yaml"
    file.write_text(file.read_text().replace("role: security", "role:   'security'  # she is on call"))
    return file


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "alice@example.org", "--key", "alice.pub"], "is new"),
        (["add", "alice smith", "--person", "p", "--key", "alice.pub"], "is not of the form"),
        (["add", "alice@example.org", "--person", "p", "--key", "nobody.pub"], "nobody.pub"),
        (["add", "alice@example.org", "--person", "p", "--key", "alice.key"], "not a file with one public key"),
        (["grant", "bob@example.org", "--role", "security", "--environment", "e", "--max-risk", "low"], "no identity"),
        (["grant", "bob@example.org"], "--role or --fact"),
        (["grant", "bob@example.org", "--role", "security"], "named environments"),
        (["revoke-key", "00000000", "--as", "compromised"], "0 keys"),
        (["init"], "can't write"),
        (["sign", "--key", "alice.key"], "identities is empty"),
        (["sign", "-f", "nothing.yaml", "--key", "alice.key"], "can't read nothing.yaml"),
        (["show"], "can't read the keyring"),
        (["verify", "--root", "alice.pub"], "can't read the keyring"),
        (["verify"], "no root key"),
    ],
)
def test_mistakes_are_named_and_nothing_is_half_done(run: Run, tmp_path: Path, arguments: list[str], says: str) -> None:
    run("keys", "generate", "--out", "alice.key")
    run("keyring", "init")
    before = (tmp_path / "keyring.yaml").read_text()
    result = run("keyring", *arguments, code=2)
    assert says in result.stderr
    assert result.stdout == ""
    assert (tmp_path / "keyring.yaml").read_text() == before
    assert not (tmp_path / "keyring.dsse.json").exists()


# -- verify


def test_verify_shows_what_counts_and_what_does_not(run: Run, tmp_path: Path) -> None:
    desk = ApprovalDesk.standard()
    paths = desk.write(tmp_path / "desk")
    good = approved(desk, tmp_path, security=desk.approve(workload(), role="security"))
    result = run("verify", "-f", good, "-e", "production", *trusted(paths))
    assert "verified  security: p-bob" in result.stdout
    assert "pins images, model, projection" in result.stdout
    bad = approved(
        desk, tmp_path, security=desk.approve(workload(), role="security", environment="staging"), business="zzz"
    )
    result = run("verify", "-f", bad, "-e", "production", *trusted(paths), code=1)
    assert "rejected  security: signed for staging, not production (wrong_environment)" in result.stdout
    assert "rejected  business: the annotation is not standard base64 (envelope_malformed)" in result.stdout
    plain = json.loads(run("verify", "-f", bad, "-e", "production", *trusted(paths), "-o", "json", code=1).stdout)
    assert [one["code"] for one in plain["workloads"][0]["rejected"]] == ["wrong_environment", "envelope_malformed"]


def test_verify_compares_the_risk_and_the_requester_when_they_are_named(run: Run, tmp_path: Path) -> None:
    desk = ApprovalDesk.standard()
    paths = desk.write(tmp_path / "desk")
    file = approved(desk, tmp_path, security=desk.approve(workload(), role="security", max_risk="medium"))
    base = ["verify", "-f", file, "-e", "production", *trusted(paths)]
    run(*base, "--level", "medium")
    assert "risk_above" in run(*base, "--level", "high", code=1).stdout
    assert "self_approval" in run(*base, "--as", "bob@example.org", code=1).stdout


def test_a_workload_without_approvals_does_not_verify(run: Run, tmp_path: Path) -> None:
    paths = ApprovalDesk.standard().write(tmp_path / "desk")
    result = run("verify", "-f", manifest(tmp_path), "-e", "production", *trusted(paths), code=1)
    assert "no approvals" in result.stdout


@pytest.mark.parametrize("metadata", ["null", "[]", "{name: 5}", "{name: llama, namespace: 5}"])
def test_a_manifest_that_can_t_be_read_is_named_and_no_stack_trace(run: Run, tmp_path: Path, metadata: str) -> None:
    paths = ApprovalDesk.standard().write(tmp_path / "desk")
    file = manifest(tmp_path, f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {metadata}\nspec: {{}}\n")
    result = run("verify", "-f", file, "-e", "production", *trusted(paths), code=2)
    assert "error" in result.stderr


def test_verify_without_a_keyring_or_a_cluster_says_what_to_name(run: Run, tmp_path: Path) -> None:
    assert "--keyring FILE" in run("verify", "-f", manifest(tmp_path), "-e", "production", code=2).stderr
    paths = ApprovalDesk.standard().write(tmp_path / "desk")
    arguments = ["--keyring", paths["keyring"], "--root", paths["roots"], "--threshold", "2"]
    assert "--cluster" in run("verify", "-f", manifest(tmp_path), "-e", "production", *arguments, code=2).stderr


# -- revoke


def test_revoke_writes_a_file_that_the_gate_reads(run: Run, tmp_path: Path) -> None:
    desk = ApprovalDesk.standard()
    paths = desk.write(tmp_path / "desk", passphrase="correct horse")
    statement = desk.statement(workload(), role="security")
    key, folder = paths["keys"] / "bob.key", paths["revocations"]
    arguments = ["revoke", statement.approval_id, "--role", "security", "-e", "production", "--key", key]
    run(*arguments, "--out", folder)
    revocations = load_revocations(folder, keyring=desk.keyring)
    assert revocations.find(statement.approval_id, role="security", environment="production") is not None
    assert "can't write" in run(*arguments, "--out", folder, code=2).stderr
    file = approved(desk, tmp_path, security=desk.sign(statement, by="bob"))
    base = ["verify", "-f", file, "-e", "production", *trusted(paths)]
    run(*base)
    assert "revoked by p-bob" in run(*base, "--revocations", folder, code=1).stdout


def test_revoke_makes_the_folder_that_is_named_and_says_how_another_file_must_be_named(
    run: Run, tmp_path: Path
) -> None:
    paths = ApprovalDesk.standard().write(tmp_path / "desk", passphrase="correct horse")
    one = "5f0cbb0e-9d0c-4dd8-9d0a-6a2b7c6f1d11"
    arguments = ["revoke", one, "--role", "security", "-e", "production", "--key", paths["keys"] / "bob.key"]
    made = run(*arguments, "--out", f"{tmp_path / 'made'}/")
    assert (tmp_path / "made" / f"{one}.dsse.json").is_file()
    assert "named" not in made.stderr
    assert "named *.dsse.json" in run(*arguments, "--out", tmp_path / "other.json").stderr


def test_revoke_refuses_what_is_no_approval_id(run: Run, tmp_path: Path) -> None:
    paths = ApprovalDesk.standard().write(tmp_path / "desk")
    result = run("revoke", "42", "--role", "security", "-e", "production", "--key", paths["keys"] / "bob.key", code=2)
    assert "can't be revoked" in result.stderr
    assert list(tmp_path.glob("*.dsse.json")) == []


@pytest.mark.parametrize(
    "command",
    [
        ["keys"], ["keys", "generate"], ["keys", "show"], ["keys", "import"], ["keyring"], ["keyring", "init"],
        ["keyring", "add"], ["keyring", "grant"], ["keyring", "revoke-key"], ["keyring", "revoke-approval"],
        ["keyring", "renew"], ["keyring", "sign"], ["keyring", "verify"], ["keyring", "show"], ["evidence"],
        ["evidence", "attest"], ["evidence", "verify"], ["verify"], ["revoke"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_command_explains_itself(run: Run, command: list[str]) -> None:
    help_text = run(*command, "--help").stdout
    assert "Usage:" in help_text
    if command not in (["keys"], ["evidence"]):
        assert f"placet {command[0]}" in help_text.partition("Options")[0].partition("\n")[2]


def test_what_the_desk_signs_in_memory_and_in_files_is_one_thing(run: Run, tmp_path: Path) -> None:
    desk = ApprovalDesk.standard()
    paths = desk.write(tmp_path / "desk")
    shown = json.loads(run("keys", "show", paths["keys"] / "alice.key", "-o", "json").stdout)
    assert shown["fingerprint"] == signer_of("alice").public_key.fingerprint
    raw = {"technical": desk.approve(workload(), role="technical")}
    findings = check_approvals(
        raw, keyring=desk.keyring, revocations=Revocations.none(), context=desk.context(workload())
    )
    assert len(findings.verified) == 1
