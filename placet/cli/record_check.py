"""A record as the gate that would write it finds it, read without a change."""

from __future__ import annotations

from pathlib import Path

from placet.audit.location import StoreLocation, open_reader, open_store
from placet.audit.note import LogKey, verify_note
from placet.errors import AuditError, FormatError, InputError, TamperError


def check_store(store: StoreLocation, *, origin: str) -> str:
    """What is to be said of a store that can be opened.

    Raises:
        AuditError: it is damaged, of another version, or of another log.
        InputError: its folder is not there.
    """
    if isinstance(store, Path):
        if not store.parent.is_dir():
            raise InputError(
                f"{store.parent} is not there", hint="Make the folder of the record; the file makes itself."
            )
        if not store.exists():
            return f"{store}: is made at the first start"
    else:
        open_store(store, origin=origin).close()  # may the role add to it, and would the server keep it
    with open_reader(store) as reader:
        states = reader.raw_states()
        latest = reader.latest_checkpoint()
    if len(states) != 1:
        raise AuditError(
            f"{store} has {len(states)} states, and not one", code="tampered", hint="placet audit verify says more."
        )
    ((found, size, _),) = states
    if found != origin:
        raise AuditError(
            f"{store} is the record of {found}, and not of {origin}",
            code="store_foreign",
            hint="One record belongs to one cluster: name another file, or the origin that it has.",
        )
    signed = latest.size if latest is not None else 0
    return f"{store}: {size} leaves, {signed} of them signed for"


def check_signer(store: StoreLocation, key: LogKey) -> str:
    """Why the log's key may be the wrong one; "" where nothing speaks against it."""
    try:
        with open_reader(store) as reader:
            latest = reader.latest_checkpoint()
        if latest is not None:
            verify_note(latest.raw_note, key.verifiers)
    except (TamperError, FormatError):
        return "it has not signed the last checkpoint of the record: whoever verifies needs the former key too"
    except (AuditError, InputError):
        return ""  # the check of the record says it
    return ""
