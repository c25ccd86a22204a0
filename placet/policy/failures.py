"""Everything that can be wrong with a policy engine on a server: a code, what it means, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from placet.errors import EngineAnswerError, EngineError, EngineTimeout, EngineUnavailable


@dataclass(frozen=True, slots=True)
class Failure:
    """One way for the server to fail.

    Attributes:
        kind: of the exception that carries it.
        meaning: what was seen.
        remedy: what the platform team does.
        passing: whether it may be over in a moment, so that asking again within the deadline makes sense.
    """

    kind: type[EngineError]
    meaning: str
    remedy: str
    passing: bool = False


_NOT_OPA: Final = "Something else answers at policy.opa_url: compare it with the address that OPA listens on."
_RELEASES: Final = "Give OPA the bundle of this release of placet, alone, or set policy.opa_bundle to push."

FAILURES: Final[Mapping[str, Failure]] = {
    "engine_unavailable": Failure(
        EngineUnavailable,
        "no connection, or it was closed without an answer, or HTTP 404, 502 or 504",
        "See whether OPA runs and listens at policy.opa_url, and read its log.",
        passing=True,
    ),
    "engine_overloaded": Failure(
        EngineUnavailable,
        "HTTP 429 or 503",
        "Give OPA more CPU, or each replica of the gate an OPA of its own.",
        passing=True,
    ),
    "engine_cut_short": Failure(
        EngineUnavailable,
        "the connection ended in the middle of an answer",
        "Read OPA's log; it was probably restarted or ran out of memory.",
        passing=True,
    ),
    "bundle_missing": Failure(
        EngineUnavailable,
        "OPA has no bundle, or not yet (pull)",
        "Look at OPA's bundle configuration and log, or set policy.opa_bundle to push.",
        passing=True,
    ),
    "engine_forbidden": Failure(
        EngineUnavailable,
        "HTTP 401 or 403: OPA's authorization refused the gate's token, or a read or write that the gate needs",
        "Give both the same PLACET_OPA_TOKEN, and OPA the authorization policy of this release (opa/authz.rego).",
    ),
    "engine_tls": Failure(
        EngineUnavailable,
        "a TLS handshake that failed, usually a certificate of another name or authority, or an expired one",
        "Compare policy.opa_ca and the host name in policy.opa_url with OPA's certificate.",
    ),
    "engine_unprepared": Failure(
        EngineUnavailable,
        "OPA has not been asked yet",
        "Wait a moment; it is asked when the gate starts.",
        passing=True,
    ),
    "engine_timeout": Failure(
        EngineTimeout,
        "no complete answer within policy.opa_timeout_seconds or the review's deadline",
        "Look at OPA's load and CPU limit; policy.opa_timeout_seconds is the longest that is waited.",
    ),
    "engine_not_http": Failure(EngineAnswerError, "an answer that is not HTTP, or with far too many headers", _NOT_OPA),
    "engine_redirected": Failure(EngineAnswerError, "a redirect; none is followed", _NOT_OPA),
    "engine_http_error": Failure(
        EngineAnswerError, "any other HTTP status than 200", "Read OPA's log; the policies ended in an error there."
    ),
    "engine_answer_type": Failure(EngineAnswerError, "another content type than JSON, such as a web page", _NOT_OPA),
    "engine_answer_compressed": Failure(
        EngineAnswerError, "a compressed answer, which was not asked for", "Take the proxy before OPA away."
    ),
    "engine_answer_too_large": Failure(EngineAnswerError, "an answer larger than any decision", _NOT_OPA),
    "engine_answer_not_json": Failure(
        EngineAnswerError, "not JSON, or JSON with a key given twice, NaN, or far too deep", _NOT_OPA
    ),
    "engine_answer_invalid": Failure(EngineAnswerError, "JSON that is no decision, or contradicts itself", _RELEASES),
    "engine_other_request": Failure(EngineAnswerError, "a decision about another request", _NOT_OPA),
    "engine_other_data": Failure(
        EngineAnswerError,
        "OPA took the gate's data, and judges by other data",
        "Let no two gates with different data share one OPA, and nobody else write to it.",
        passing=True,
    ),
    "engine_version_differs": Failure(
        EngineError, "OPA has another version than the one that compiled the policies", "Run OPA of the version named."
    ),
    "bundle_mismatch": Failure(EngineError, "OPA judges by another bundle, or by more than one", _RELEASES),
    "engine_drift": Failure(
        EngineError,
        "OPA holds policies or data that are not the gate's",
        "Find out who writes to OPA, let only the gate (opa/authz.rego), and restart OPA without other policies.",
    ),
    "engine_push_refused": Failure(
        EngineError,
        "OPA refused what the gate gave it",
        "Restart OPA without policies or data of other origin, and read its log.",
    ),
}


def failure(code: str, message: str) -> EngineError:
    """The exception for one of ``FAILURES``; ``message`` carries no text that came from the server."""
    known = FAILURES[code]
    return known.kind(message, code=code, hint=known.remedy)


def is_passing(error: EngineError) -> bool:
    """Whether asking again in a moment makes sense."""
    known = FAILURES.get(error.code)
    return known is not None and known.passing


def render_failures() -> str:
    """The table of ``FAILURES`` for docs/opa.md."""
    rows = "\n".join(f"| `{code}` | {each.meaning} | {each.remedy} |" for code, each in FAILURES.items())
    return f"| code | what was seen | what to do |\n|---|---|---|\n{rows}\n"
