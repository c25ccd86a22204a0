"""Where a verification may go on: a tree that a checkpoint of the log's key signs for, and nothing that has no proof.

A state file says a size, the frontier at that size and the signed checkpoint of it. The frontier is worth what folding
it to the signed root says; whoever writes another file can only make a verification begin at another checkpoint of the
same log, or not at all. What the leaves before it are now, it does not say: they are not read again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.merkle import Frontier
from placet.audit.note import VerifierKey
from placet.canonical import parse_json
from placet.errors import FormatError, InputError, TamperError

STATE_SCHEMA: Final = "placet.dev/audit-verify-state/v1"
MAX_STATE_BYTES: Final = 128 * 1024
_MEMBERS: Final = {"schema": str, "size": int, "frontier": str, "checkpoint": str}
_HINT: Final = "Remove the file, or name another one, to verify from the first leaf."


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first leaves of the log, as a checkpoint signs for them.

    Attributes:
        tree: of them; its root is the checkpoint's.
        note: the signed checkpoint.
    """

    tree: Frontier
    note: str


def parse_state(raw: bytes, keys: Sequence[VerifierKey]) -> Prefix:
    """Read a state file and prove what it says.

    Args:
        raw: its bytes, unverified.
        keys: verifier keys of the log.

    Raises:
        FormatError: not a state file.
        TamperError: the checkpoint is not signed by the log, or the frontier is not that of its root.
    """
    value = parse_json(raw, max_bytes=MAX_STATE_BYTES)
    if not isinstance(value, dict) or {name: type(item) for name, item in value.items()} != _MEMBERS:
        raise FormatError("not the state of a verification", code="state_invalid")
    if value["schema"] != STATE_SCHEMA:
        raise FormatError(f"a state of another schema than {STATE_SCHEMA}", code="state_invalid")
    checkpoint = verify_checkpoint(value["checkpoint"].encode(), keys)
    try:
        frontier = bytes.fromhex(value["frontier"])
    except ValueError as exc:
        raise FormatError("the frontier is not hexadecimal", code="state_invalid") from exc
    tree = Frontier.parse(value["size"], frontier)
    if (tree.size, tree.root()) != (checkpoint.size, checkpoint.root):
        raise TamperError("the state is not that of the tree that its checkpoint signs for", code="state_invalid")
    return Prefix(tree, checkpoint.note)


def render_state(prefix: Prefix) -> bytes:
    """The bytes of a state file."""
    value = {
        "schema": STATE_SCHEMA,
        "size": prefix.tree.size,
        "frontier": prefix.tree.render().hex(),
        "checkpoint": prefix.note,
    }
    return f"{json.dumps(value, indent=2)}\n".encode()


def load_state(path: Path, keys: Sequence[VerifierKey]) -> Prefix | None:
    """Where to go on; None where there is no such file yet.

    Raises:
        InputError: the file can't be read, or does not prove what it says.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_STATE_BYTES + 1)
        return parse_state(raw, keys)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise InputError(f"{path} can't be read: {exc.strerror}") from exc
    except (FormatError, TamperError) as exc:
        raise InputError(f"{path} can't be gone on from: {exc}", code="state_invalid", hint=_HINT) from exc


def write_state(path: Path, prefix: Prefix) -> None:
    """Replace the file; whoever reads it meanwhile has the old one or the new one.

    Raises:
        InputError: it can't be written.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with beside.open("wb") as file:
            file.write(render_state(prefix))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise InputError(f"{path} can't be written: {exc.strerror}") from exc
