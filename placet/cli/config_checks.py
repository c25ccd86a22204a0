"""What a gate would find at start, found without starting one: each part is looked at, and nothing is changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from placet.config import Config, build_config
from placet.config_schema import SCHEMA
from placet.errors import AuditError, ConfigError, InputError, PlacetError
from placet.settings_file import Settings, load_settings

if TYPE_CHECKING:
    from placet.approvals.keyring import VerifiedKeyring
    from placet.policy.data import PolicyData

FINE: Final = "fine"
WARNING: Final = "warning"
PROBLEM: Final = "problem"
SOON: Final = timedelta(days=14)
_UNREADABLE: Final = "config_unreadable"


@dataclass(frozen=True, slots=True)
class Check:
    """What was found about one part.

    Attributes:
        status: ``fine`` | ``warning`` | ``problem``.
        name: of the part, stable: ``keyring``.
        place: file and line of the key that names it; "" where there is none.
        sentence: what was found.
        hint: what to do; may be empty.
    """

    status: str
    name: str
    place: str
    sentence: str
    hint: str = ""


def check_configuration(file: Path) -> list[Check]:
    """Look at everything that the configuration names, in the order in which a gate opens it.

    Raises:
        ConfigError: ``config_unreadable``: the file itself can't be read.
    """
    try:
        settings = load_settings(file, SCHEMA)
        config = build_config(settings)
    except ConfigError as exc:
        if exc.code == _UNREADABLE:
            raise
        return [Check(PROBLEM, "configuration", "", problem, exc.hint) for problem in exc.problems]
    return list(_Checker(settings, config, datetime.now(UTC)).run())


def expiry(until: datetime, now: datetime) -> tuple[str, str]:
    """Status and words for a time at which something ends."""
    days = (until - now) // timedelta(days=1)
    when = f"{until:%Y-%m-%d %H:%M} UTC"
    if now >= until:
        return PROBLEM, f"expired on {when}"
    return (WARNING if until - now < SOON else FINE), f"holds until {when}, {days} days from now"


class _Checker:
    """The checks of one configuration."""

    def __init__(self, settings: Settings, config: Config, now: datetime) -> None:
        self._settings = settings
        self._config = config
        self._now = now
        self._keyring: VerifiedKeyring | None = None
        self._data: PolicyData | None = None
        self._version = 0

    def run(self) -> Iterator[Check]:
        """Every check; one that can't be made is a problem, and the rest go on."""
        sections = ", ".join(self._settings.value)
        yield self._fine("configuration", (), f"{self._config.file}: every key is known and well-formed ({sections})")
        for name, steps, check in (
            ("keys", ("record", "log_key"), self._private_files),
            ("roots", ("keyring", "roots"), self._roots),
            ("keyring", ("keyring", "file"), self._check_keyring),
            ("revocations", ("keyring", "revocations"), self._revocations),
            ("exemptions", ("keyring", "exemptions"), self._exemptions),
            ("policy data", ("policy", "data"), self._policy_data),
            ("policies", ("policy", "engine"), self._policies),
            ("opa", ("policy", "opa_url"), self._opa),
            ("shadow", ("policy", "shadow"), self._shadow),
            ("log key", ("record", "log_key"), self._log_key),
            ("record", ("record", "store"), self._record),
            ("certificate", ("server", "tls_cert"), self._certificate),
            ("client CA", ("server", "client_ca"), self._client_authorities),
            ("kubeconfig", ("kubeconfig",), self._kubeconfig),
        ):
            yield from self._made(name, steps, check)

    def _made(self, name: str, steps: tuple[str, ...], check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
        try:
            yield from check()
        except PlacetError as exc:
            yield Check(PROBLEM, name, self._settings.place(steps), str(exc), exc.hint)
        except OSError as exc:
            yield Check(PROBLEM, name, self._settings.place(steps), f"{exc.filename}: {exc.strerror}")

    def _check(self, status: str, name: str, steps: tuple[str, ...], sentence: str, hint: str = "") -> Check:
        return Check(status, name, self._settings.place(steps) if steps else "", sentence, hint)

    def _fine(self, name: str, steps: tuple[str, ...], sentence: str) -> Check:
        return self._check(FINE, name, steps, sentence)

    # --- keys and files --------------------------------------------------------------------------------------------

    def _private_files(self) -> Iterator[Check]:
        """A mounted Secret is readable by the group that its Pod runs with; by everybody, nothing private is."""
        files = [
            (("record", "log_key"), self._config.log_key),
            (("record", "next_log_key"), self._config.next_log_key),
            (("server", "tls_key"), self._config.server.tls_key),
        ]
        for steps, file in files:
            if file is None or not file.exists():
                continue  # the check of what it is for says so
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & (stat.S_IRWXO | stat.S_IWGRP):
                hint = f"chmod 600 {file}"
                yield self._check(
                    PROBLEM, "keys", steps, f"{file}: others have access to a private key ({mode:04o})", hint
                )
            else:
                yield self._fine("keys", steps, f"{file}: private ({mode:04o})")

    def _roots(self) -> Iterator[Check]:
        from placet.approvals.keyring import load_roots

        roots = load_roots(self._config.root_files)
        distinct = len({root.fingerprint for root in roots})
        wanted = self._config.root_threshold
        steps = ("keyring", "roots")
        if wanted > distinct:
            sentence = f"{wanted} signatures are wanted, of {distinct} distinct root keys"
            yield self._check(PROBLEM, "roots", steps, sentence, "Two files may hold the same key.")
            return
        status = WARNING if wanted == 1 else FINE
        hint = "" if status == FINE else "Whoever holds that one key can grant anything; 2 of 3 is usual."
        yield self._check(
            status, "roots", steps, f"{wanted} of {distinct} root keys must have signed the keyring", hint
        )

    def _check_keyring(self) -> Iterator[Check]:
        from placet.approvals.keyring import load_keyring, load_roots, verify_keyring

        self._keyring = verify_keyring(
            load_keyring(self._config.keyring_file),
            roots=load_roots(self._config.root_files),
            threshold=self._config.root_threshold,
            now=self._now,
            minimum_version=self._newest_version(),
        )
        status, words = expiry(self._keyring.expires, self._now)
        people = len({identity.person for identity in self._keyring.identities.values()})
        sentence = f"version {self._keyring.version}, {people} persons, {words}"
        hint = "" if status == FINE else "The security team issues a new one: placet keyring renew."
        yield self._check(status, "keyring", ("keyring", "file"), sentence, hint)

    def _newest_version(self) -> int:
        """The newest keyring of the record, 0 when there is none or it can't be read: that is said elsewhere."""
        from placet.audit.location import open_reader
        from placet.audit.query import read_found

        try:
            with open_reader(self._config.store) as reader:
                stored = reader.latest("keyring")
                version = read_found(stored).body.get("version") if stored is not None else 0
        except (AuditError, InputError):
            return 0
        return version if isinstance(version, int) else 0

    def _revocations(self) -> Iterator[Check]:
        from placet.approvals.revocations import load_revocations

        if self._config.revocations is None or self._keyring is None:
            return
        found = load_revocations(self._config.revocations, keyring=self._keyring)
        steps = ("keyring", "revocations")
        yield self._fine("revocations", steps, f"{self._config.revocations}: {len(found)} revocations")

    def _exemptions(self) -> Iterator[Check]:
        from placet.exemptions.folder import load_exemptions

        if self._config.exemptions is None or self._keyring is None:
            return
        held = load_exemptions(self._config.exemptions, keyring=self._keyring)
        steps = ("keyring", "exemptions")
        for fault in held.faults:
            sentence = f"{fault.file} exempts nothing: {fault.why}"
            yield self._check(WARNING, "exemptions", steps, sentence, "Take the file away, or have it signed again.")
        yield self._fine("exemptions", steps, f"{self._config.exemptions}: {len(held.all)} exemptions")

    # --- policies --------------------------------------------------------------------------------------------------

    def _policy_data(self) -> Iterator[Check]:
        from placet.assemble import load_policies
        from placet.cli import clock

        self._data, self._version = load_policies(self._config, now=clock.now_utc())
        names = ", ".join(sorted(self._data.value["environments"]))
        where = self._config.policy.data or "the shipped defaults"
        yield self._fine("policy data", ("policy", "data"), f"{where}: {self._data.digest}, environments {names}")

    def _policies(self) -> Iterator[Check]:
        if self._data is None:
            return
        bundle = self._data.bundle
        if self._config.policy.engine == "embedded":
            from placet.policy.wasm import EmbeddedEngine

            engine = EmbeddedEngine.default(self._data)
            engine.prepare()
            engine.close()
        sentence = f"{len(bundle.rules)} rules, revision {bundle.revision}, built by OPA {bundle.compiler}"
        if self._version:
            sentence = f"{sentence}, signed version {self._version}"
        yield self._fine("policies", ("policy", "engine"), f"{self._config.policy.engine}: {sentence}")

    def _shadow(self) -> Iterator[Check]:
        """What is only tried keeps no gate from deciding, so that a fault in it is a warning."""
        if not self._config.policy.shadow.wanted:
            return
        from placet.cli import clock
        from placet.policy.data import load_policy_data
        from placet.policy.wasm import EmbeddedEngine
        from placet.shadow.chosen import choosing

        steps = ("policy", "shadow")
        try:
            with choosing(self._config.policy, now=clock.now_utc()) as chosen:
                data = load_policy_data(self._config.policy.tried.data, chosen.bundle)
                engine = EmbeddedEngine(chosen.bundle, data)
            engine.prepare()
            engine.close()
        except (PlacetError, OSError) as exc:
            hint = exc.hint if isinstance(exc, PlacetError) else ""
            yield self._check(WARNING, "shadow", steps, f"it can't be tried: {exc}", hint)
            return
        sentence = f"tries revision {chosen.bundle.revision} with policy data {data.digest}"
        yield self._fine("shadow", steps, sentence)

    def _opa(self) -> Iterator[Check]:
        if self._config.policy.engine != "opa" or self._data is None:
            return
        from placet.cli.opa_check import check_opa

        status, sentence, hint = check_opa(self._config.policy, self._data)
        yield self._check(status, "opa", ("policy", "opa_url"), sentence, hint)

    # --- record ----------------------------------------------------------------------------------------------------

    def _log_key(self) -> Iterator[Check]:
        from placet.assemble import load_own_log_key
        from placet.cli.record_check import check_signer

        key = load_own_log_key(self._config)
        yield self._fine("log key", ("record", "log_key"), f"opens; verifier key {key.verifier}")
        if key.successor is not None:
            sentence = f"opens, and signs as well; verifier key {key.successor.verifier}"
            yield self._fine("log key", ("record", "next_log_key"), sentence)
        if warning := check_signer(self._config.store, key):
            yield self._check(WARNING, "log key", ("record", "log_key"), warning)

    def _record(self) -> Iterator[Check]:
        from placet.cli.record_check import check_store

        store = self._config.store
        sentence = check_store(store, origin=self._config.origin)
        folder, file = (store.parent, store) if isinstance(store, Path) else (Path(), Path())
        for place, rights, what in ((folder, os.W_OK | os.X_OK, "folder"), (file, os.R_OK | os.W_OK, "file")):
            if place.exists() and not os.access(place, rights):
                hint = "Every decision is written before it is answered; without that, every review is refused."
                yield self._check(PROBLEM, "record", ("record", "store"), f"the {what} {place} can't be written", hint)
                return
        yield self._fine("record", ("record", "store"), sentence)

    # --- server ----------------------------------------------------------------------------------------------------

    def _certificate(self) -> Iterator[Check]:
        from placet.cli.certificate_check import check_certificate

        server = self._config.server
        steps = ("server", "tls_cert")
        if server.tls_cert is None or server.tls_key is None:
            hint = "placet serve needs both; the other commands need neither."
            yield self._check(WARNING, "certificate", ("server",), "no tls_cert and tls_key", hint)
            return
        for status, sentence, hint in check_certificate(server.tls_cert, server.tls_key, now=self._now):
            yield self._check(status, "certificate", steps, sentence, hint)

    def _client_authorities(self) -> Iterator[Check]:
        from placet.cli.certificate_check import check_authorities

        for steps, file, name in (
            (("server", "client_ca"), self._config.server.client_ca, "client CA"),
            (("policy", "opa_ca"), self._config.policy.opa_ca, "OPA CA"),
        ):
            if file is not None:
                for status, sentence, hint in check_authorities(file, now=self._now):
                    yield self._check(status, name, steps, sentence, hint)

    def _kubeconfig(self) -> Iterator[Check]:
        config = self._config
        asked = [
            key for key in ("autoscalers", "parents", "namespaces", "environments") if getattr(config, key) == "lookup"
        ]
        if config.kubeconfig is not None:
            with config.kubeconfig.open("rb") as file:
                file.read(1)
            yield self._fine("kubeconfig", ("kubeconfig",), f"{config.kubeconfig}: can be read")
        elif asked and "KUBERNETES_SERVICE_HOST" not in os.environ:
            hint = "In a Pod its service account is used; elsewhere name a kubeconfig."
            yield self._check(WARNING, "kubeconfig", (asked[0],), "a look-up is asked for, and this is no Pod", hint)
