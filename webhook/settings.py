"""What the HTTP face itself is set to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_TIMEOUT_S: Final = 10.0


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
