"""What the HTTP face itself is set to."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from placet.config_server import ServerConfig
from placet.errors import ConfigError

DEFAULT_TIMEOUT_S: Final = 10.0
PATH_TOKEN: Final = "PLACET_PATH_TOKEN"  # noqa: S105 - the name of a variable
SHORTEST_TOKEN: Final = 16
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]+", re.ASCII)  # RFC 3986, unreserved: the same in every spelling of a path


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Limits of one webhook.

    Attributes:
        max_body_bytes: the largest review that is read; the API server's own cap is 8 MiB of response, 3 MiB of object.
        margin_s: kept back from the API server's time-out so that the answer still arrives.
        default_timeout_s: assumed when the API server names none (its own default).
        longest_timeout_s: the most that any caller is given.
    """

    max_body_bytes: int = 8 * 1024 * 1024
    margin_s: float = 0.5
    default_timeout_s: float = DEFAULT_TIMEOUT_S
    longest_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask for a review.

    Attributes:
        names: common names or DNS names of client certificates; any will do when there are none.
        sans: alternative names with their kind, ``DNS:...``, ``URI:...`` or ``IP:...``, of which the certificate has to
            have one, beside one of ``names``; any will do when there are none.
        token: last segment of the path; None when the path has none. Secret.
    """

    names: frozenset[str] = frozenset()
    sans: frozenset[str] = frozenset()
    token: bytes | None = field(default=None, repr=False)

    @property
    def wants_certificate(self) -> bool:
        """Whether a caller has to show one."""
        return bool(self.names or self.sans)

    @property
    def tells_apart(self) -> bool:
        """Whether a caller can prove anything at all."""
        return self.wants_certificate or self.token is not None

    def admits(self, caller_names: Sequence[str], caller_sans: Sequence[str] = ()) -> bool:
        """Whether a caller with these verified names is one of those who may ask."""
        named = not self.names or not self.names.isdisjoint(caller_names)
        return named and (not self.sans or not self.sans.isdisjoint(caller_sans))

    def authenticates(self, caller_names: Sequence[str], caller_sans: Sequence[str] = ()) -> bool:
        """Whether these verified names prove that the caller is an API server."""
        return self.wants_certificate and self.admits(caller_names, caller_sans)

    def opens(self, segment: str | None) -> bool:
        """Whether this is the last segment that the path must have; None where there is none."""
        if self.token is None or segment is None:
            return self.token is None and segment is None
        return hmac.compare_digest(segment.encode("utf-8", "surrogateescape"), self.token)


def load_access(server: ServerConfig, environment: Mapping[str, str]) -> Access:
    """Who may ask, from the configuration and the process's environment.

    Raises:
        ConfigError: the token of the path is short, or is not the same in every spelling of a path.
    """
    token = environment.get(PATH_TOKEN)
    names, sans = frozenset(server.client_names), frozenset(server.client_sans)
    if token is None:
        return Access(names=names, sans=sans)
    if len(token) < SHORTEST_TOKEN or not _TOKEN.fullmatch(token):
        raise ConfigError(
            f"{PATH_TOKEN} is not {SHORTEST_TOKEN} or more letters, digits, dots, hyphens, underscores or tildes",
            hint="Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return Access(names=names, sans=sans, token=token.encode())
