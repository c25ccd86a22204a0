"""A replica of a gate as far as the record goes: a process whose threads append and say what they were answered.

``python -m tests.simulators.replica ADDRESS NAME THREADS`` appends until it is killed. Each answer is one line to
stdout, ``uid index``, written after ``append`` has returned and before the thread appends again: what is there was
answered. A thread whose append failed sends the same uid again, as an API server would, and so is answered from the
record where the first append was durable after all.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from placet.audit.location import DatabaseUrl
from placet.audit.log import AuditLog
from placet.audit.stores.postgres.store import PostgresStore
from placet.errors import AuditError, TamperError
from tests.simulators.tampering import LOG_KEY, ORIGIN, decision

_PAUSE_S = 0.02  # between attempts while the server is away


def _open(address: str) -> AuditLog:
    while True:
        try:
            return AuditLog(PostgresStore.open(DatabaseUrl(address), origin=ORIGIN), key=LOG_KEY)
        except TamperError:
            raise
        except AuditError:
            time.sleep(_PAUSE_S)


def _append_for_ever(log: AuditLog, name: str, thread: int) -> None:
    number = 0
    while True:
        number += 1
        uid = f"{name}-{thread}-{number}"
        body = decision(number, uid=uid, decision_id=f"of-{uid}")
        while True:
            try:
                appended = log.append(body, uid=uid)
            except TamperError as exc:
                os.write(2, f"tampered: {exc}\n".encode())
                os._exit(3)
            except AuditError:
                time.sleep(_PAUSE_S)
            else:
                break
        os.write(1, f"{uid} {appended.index}\n".encode())


def _sign_for_ever(log: AuditLog) -> None:
    while True:
        try:
            log.checkpoint()
        except TamperError as exc:
            os.write(2, f"tampered: {exc}\n".encode())
            os._exit(4)
        except AuditError:
            pass
        time.sleep(_PAUSE_S)


def main() -> None:
    """Append until killed."""
    address, name, threads = sys.argv[1:]
    log = _open(address)
    for thread in range(int(threads)):
        threading.Thread(target=_append_for_ever, args=(log, name, thread), daemon=True).start()
    _sign_for_ever(log)


if __name__ == "__main__":
    main()
