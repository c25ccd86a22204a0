"""Removing contents from the PostgreSQL store, as the owner of its tables; see ``placet.audit.stores.removal``."""

from __future__ import annotations

from typing import Any, Final

import psycopg

from placet.audit.indexing import make_segment, missing_segments
from placet.audit.location import DatabaseUrl
from placet.audit.spans import Span
from placet.audit.stores.postgres.connection import connect, require_durable, require_version
from placet.audit.stores.postgres.failure import store_error
from placet.audit.stores.postgres.reader import PostgresReader, translated
from placet.audit.stores.postgres.text import stored
from placet.audit.stores.postgres.transaction import SEGMENT_LOCK, put_block, put_segment
from placet.audit.stores.reader import COLUMNS
from placet.audit.stores.removal import (
    DELETE_BLOB,
    SOME_BLOBS,
    SOME_LEAVES,
    TRIGGER,
    blank_rows,
    blocks_of,
    segments_of,
)

_BLANK: Final = (
    f"UPDATE placet.leaves SET leaf = %(leaf)s, {', '.join(f'{name} = %({name})s' for name in COLUMNS)} "  # noqa: S608 - our own names
    "WHERE idx = %(idx)s"
)
_LOCK: Final = "SELECT size FROM placet.state WHERE id = 1 FOR UPDATE"  # whoever appends waits, as for an append


class PostgresRemover:
    """Removes from one database.

    Raises:
        StoreUnavailable: it can't be reached.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        try:
            self._link = connect(url, idle_s=10.0, application="placet prune")
            try:
                require_version(self._link, url)
                require_durable(self._link, url)
            except BaseException:
                self._link.close()
                raise
        except psycopg.Error as exc:
            raise store_error(exc) from exc

    def leaves(self, span: Span) -> list[int]:
        """See ``Remover``."""
        try:
            with self._link.transaction():
                self._begin()
                found = self._indexes(SOME_LEAVES, start=span[0], end=span[1])
                if found:
                    self._link.execute(f"ALTER TABLE placet.leaves DISABLE TRIGGER {TRIGGER}")
                    cursor = self._link.cursor()
                    cursor.executemany(_BLANK, list(blank_rows(found)))
                    self._link.execute(f"ALTER TABLE placet.leaves ENABLE TRIGGER {TRIGGER}")
                    self._link.execute("DELETE FROM placet.blobs WHERE idx = ANY(%s)", (found,))
                    reader = PostgresReader(self._link)
                    for segment in segments_of(found):
                        self._link.execute("DELETE FROM placet.postings WHERE segment = %s", (segment,))
                        self._link.execute("DELETE FROM placet.segments WHERE segment = %s", (segment,))
                    for block in list(blocks_of(reader, found)):
                        both = [block.number, -1 - block.number]  # and of persons, which a gate makes again
                        self._link.execute("DELETE FROM placet.terms WHERE block = ANY(%s)", (both,))
                        self._link.execute("DELETE FROM placet.blocks WHERE block = %s", (block.number,))
                        put_block(self._link, block)
        except psycopg.Error as exc:
            raise store_error(exc) from exc
        return found

    def attachments(self, name: str, span: Span) -> list[int]:
        """See ``Remover``."""
        try:
            with self._link.transaction():
                self._begin()
                found = self._indexes(SOME_BLOBS, start=span[0], end=span[1], name=stored(name))
                rows = [{"idx": index, "name": stored(name)} for index in found]
                if rows:
                    self._link.cursor().executemany(translated(DELETE_BLOB), rows)
        except psycopg.Error as exc:
            raise store_error(exc) from exc
        return found

    def mend(self) -> None:
        """See ``Remover``."""
        try:
            for number in missing_segments(PostgresReader(self._link)):
                with self._link.transaction():
                    self._link.execute(SEGMENT_LOCK)
                    segment = make_segment(PostgresReader(self._link), number)
                    if segment is not None:
                        put_segment(self._link, segment)
        except psycopg.Error as exc:
            raise store_error(exc) from exc

    def close(self) -> None:
        """See ``Remover``."""
        self._link.close()

    def _begin(self) -> None:
        self._link.execute("SET LOCAL lock_timeout = '10s'")
        self._link.execute(SEGMENT_LOCK)
        self._link.execute(_LOCK)

    def _indexes(self, statement: str, **values: Any) -> list[int]:
        return [row[0] for row in self._link.execute(translated(statement), values)]
