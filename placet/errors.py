"""Every exception of placet, one tree.

An exception means that no decision could be made; a refusal is a value.

    PlacetError
    ├── ConfigError            at start-up only: the configuration can't be used
    ├── InputError             what a person gave the command line can't be used (exit code 2)
    │   └── ManifestError      ... in a manifest, with file and line
    ├── FormatError            bytes that are not of the form they claim
    │   ├── CanonicalError     a value with no canonical JSON
    │   └── ReviewError        not an AdmissionReview that can be answered (HTTP 4xx)
    ├── WorkloadError          an object that can't be read as a workload (denied, with its code)
    ├── KeyringError           the keyring can't be trusted or used (denied, with its code)
    ├── SigningKeyError        a private or public key that can't be loaded or is not allowed
    ├── EngineError            the policy engine gave no usable answer
    │   ├── EngineUnavailable  it could not be reached or loaded
    │   ├── EngineTimeout      it did not answer in time or used up its fuel
    │   └── EngineAnswerError  it answered something that is no decision
    └── AuditError             the record can't be written or read
        ├── StoreUnavailable   locked, full, read-only or missing
        └── TamperError        the record is not what was once signed
"""

from __future__ import annotations


class PlacetError(Exception):
    """Base of all errors of placet.

    Attributes:
        code: stable, machine-readable, snake_case; it appears in records and metrics.
        hint: a sentence for a person that says what to do next; may be empty.
        shown: the message as whoever is refused reads it, without names of machines and what they said; logs and
            /readyz have the message itself.
        lines: the message line by line, for people, where it names several faults; else empty.
    """

    code = "error"
    shown: str
    lines: tuple[str, ...] = ()

    def __init__(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.hint = hint
        self.shown = message


class ConfigError(PlacetError):
    """The configuration can't be used; raised at start-up only.

    Attributes:
        problems: each fault as a sentence of its own, where there are several; the message has them all.
    """

    code = "config_invalid"

    def __init__(
        self, message: str, *, code: str | None = None, hint: str = "", problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.problems = problems or (message,)


class InputError(PlacetError):
    """What a person gave the command line can't be used."""

    code = "input_invalid"


class ManifestError(InputError):
    """A manifest can't be read.

    Attributes:
        file: path as given, or ``-``.
        line: 1-based line in that file, 0 when it is not known.
    """

    code = "manifest_invalid"

    def __init__(self, message: str, *, file: str = "", line: int = 0, code: str | None = None, hint: str = "") -> None:
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(where + message, code=code, hint=hint)
        self.file = file
        self.line = line


class FormatError(PlacetError):
    """Bytes that are not of the form they claim to be."""

    code = "format_invalid"


class CanonicalError(FormatError):
    """A value that has no canonical JSON form."""

    code = "not_canonical"


class ReviewError(FormatError):
    """A request body that is not an AdmissionReview that can be answered.

    Attributes:
        status: the HTTP status to answer with, 400 to 499.
    """

    code = "review_invalid"

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status


class WorkloadError(PlacetError):
    """An object that can't be read as a workload."""

    code = "workload_invalid"


class KeyringError(PlacetError):
    """The keyring can't be trusted or used."""

    code = "keyring_invalid"


class SigningKeyError(PlacetError):
    """A private or public key that can't be loaded, or is not allowed."""

    code = "key_invalid"


class EngineError(PlacetError):
    """The policy engine gave no usable answer."""

    code = "engine_error"


class EngineUnavailable(EngineError):
    """The policy engine could not be reached or loaded."""

    code = "engine_unavailable"


class EngineTimeout(EngineError):
    """The policy engine did not answer within its time or fuel."""

    code = "engine_timeout"


class EngineAnswerError(EngineError):
    """The policy engine answered something that is no decision."""

    code = "engine_answer_invalid"


class AuditError(PlacetError):
    """The record can't be written or read."""

    code = "audit_error"


class StoreUnavailable(AuditError):
    """The record's store is locked, full, read-only or missing."""

    code = "store_unavailable"


class TamperError(AuditError):
    """The record is not what was once signed.

    Attributes:
        index: the first bad leaf index, or None where no single leaf is to blame.
    """

    code = "tampered"

    def __init__(self, message: str, *, index: int | None = None, code: str | None = None, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.index = index
