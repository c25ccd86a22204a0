"""Take the record in a PostgreSQL database to the newest version, as its owner: all of it, or nothing.

One transaction. Gates that have the record open go on appending meanwhile, so that roots are compared over the leaves
that there were when it began; a gate of the newest version starts once it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import psycopg

from placet.audit.indexing import make_segment, missing_segments
from placet.audit.location import DatabaseUrl
from placet.audit.merkle import Frontier, hash_leaf
from placet.audit.stores import schema as tables
from placet.audit.stores.postgres import schema
from placet.audit.stores.postgres.connection import Link, connect, read_version, require_version
from placet.audit.stores.postgres.failure import store_error
from placet.audit.stores.postgres.reader import PostgresReader
from placet.audit.stores.postgres.transaction import SEGMENT_LOCK, put_block, put_segment
from placet.audit.stores.steps import steps_from
from placet.audit.stores.upgrade import (
    VERIFY_FIRST,
    Progress,
    Upgraded,
    each_block,
    each_segment,
    no_progress,
    root_changed,
)
from placet.audit.terms import BLOCK
from placet.errors import AuditError, TamperError

_PROGRESS_EVERY: Final = 256
_LOCK: Final = f"SELECT pg_advisory_xact_lock({tables.APPLICATION_ID})"
# Whoever may add to leaves may add to what they are found by, and so for reading.
_GRANTS: Final = """\
SELECT format('GRANT %%s ON placet.%%I TO %%s', acl.privilege_type, made.name, acl.grantee::regrole)
FROM pg_class c, aclexplode(c.relacl) acl, unnest(%s::text[]) made(name)
WHERE c.oid = 'placet.leaves'::regclass AND acl.grantee NOT IN (0, c.relowner)
  AND acl.privilege_type IN ('SELECT', 'INSERT')"""


def _add_terms(link: Link) -> None:
    """To 3, as the step of the SQLite store; see there."""
    _add_tables(link, ["blocks", "terms"])


def _add_segments(link: Link) -> None:
    """To 4, as the step of the SQLite store; see there."""
    _add_tables(link, ["segments", "postings"])


def _add_tables(link: Link, made: list[str]) -> None:
    for name in made:
        link.execute(schema.translated(tables.OBJECTS[name][1]))
    for (grant,) in link.execute(_GRANTS, (made,)).fetchall():
        link.execute(grant)


# version that a step leads to -> what does it; what it says is that of the SQLite store
_STEPS: Final[Mapping[int, Callable[[Link], None]]] = {3: _add_terms, 4: _add_segments}


def plan_database(url: DatabaseUrl) -> Upgraded:
    """What ``upgrade_database`` would do; raises as it does."""
    try:
        with _connected(url) as link:
            return _planned(link, url)
    except psycopg.Error as exc:
        raise store_error(exc) from exc


def upgrade_database(url: DatabaseUrl, *, progress: Progress = no_progress) -> Upgraded:
    """Take the record to the newest version.

    Args:
        url: of the database, as the owner of the tables.
        progress: told leaves done and leaves there are, twice.

    Raises:
        AuditError: ``store_foreign``: no record, or of a newer version; ``tampered``: it is not what placet wrote.
        StoreUnavailable: it can't be reached, or the role is not the owner (``store_readonly``).
    """
    try:
        with _connected(url) as link, link.transaction():
            link.execute(_LOCK)
            link.execute("SET LOCAL lock_timeout = '5s'")
            planned = _planned(link, url)
            if not planned.steps:
                return planned
            reader = PostgresReader(link)
            size, root = _read_tree(reader, progress, None)
            for step in steps_from(planned.before):
                _STEPS[step.version](link)
                link.execute(schema.comment_statement(step.version))
                if changed := schema.differences(link, step.version):
                    raise AuditError(
                        f"the step to version {step.version} made another {', '.join(changed)}", code="store_corrupt"
                    )
            if _read_tree(reader, progress, size) != (size, root):
                raise root_changed()
            return Upgraded(planned.before, planned.version, planned.steps, size, root)
    except psycopg.Error as exc:
        raise store_error(exc) from exc


def rebuild_database(url: DatabaseUrl, *, progress: Progress = no_progress) -> int:
    """Make what records are found by anew, as the owner, all of it or nothing; gives the number of blocks.

    Raises:
        AuditError: ``store_foreign``.
        StoreUnavailable: it can't be reached, or the role is not the owner (``store_readonly``).
    """
    count = 0
    try:
        with _connected(url) as link, link.transaction():
            require_version(link, url)
            link.execute("SET LOCAL lock_timeout = '5s'")
            link.execute("TRUNCATE placet.blocks, placet.terms, placet.segments, placet.postings")
            reader = PostgresReader(link)
            for block in each_block(reader, progress):
                count += put_block(link, block)
            for segment in each_segment(reader):
                put_segment(link, segment)
    except psycopg.Error as exc:
        raise store_error(exc) from exc
    return count


def complete_database(url: DatabaseUrl, *, progress: Progress = no_progress) -> int:
    """Make what records are found by as far as it is not there, as ``complete_file`` does.

    Raises:
        AuditError: ``store_foreign``.
        StoreUnavailable: it can't be reached, or the role may not add.
    """
    count = 0
    try:
        with _connected(url) as link:
            require_version(link, url)
            reader = PostgresReader(link)
            start, size = reader.blocks(), reader.state().size
            for number in range(start, size // BLOCK):
                with link.transaction():
                    for block in each_block(reader, no_progress, start=number, end=number + 1):
                        count += put_block(link, block)
                progress((number + 1) * BLOCK, size)
            for number in missing_segments(reader):
                with link.transaction():
                    link.execute(SEGMENT_LOCK)
                    segment = make_segment(reader, number)
                    if segment is not None:
                        put_segment(link, segment)
    except psycopg.Error as exc:
        raise store_error(exc) from exc
    return count


def _connected(url: DatabaseUrl) -> Link:
    return connect(url, idle_s=0, application="placet upgrade-store")


def _planned(link: Link, url: DatabaseUrl) -> Upgraded:
    version = read_version(link, url)
    if changed := schema.differences(link, version):
        raise AuditError(
            f"{url} is not what placet made of version {version}: {', '.join(changed)}",
            code="tampered",
            hint=VERIFY_FIRST,
        )
    return Upgraded(version, schema.VERSION, tuple(step.says for step in steps_from(version)))


def _read_tree(reader: PostgresReader, progress: Progress, size: int | None) -> tuple[int, bytes]:
    """Number and root of the first leaves, by their bytes; of all that the state row says, without ``size``."""
    state = reader.state()
    total = state.size if size is None else size
    tree = Frontier()
    for stored in reader.leaves(0, total):
        leaf_hash = hash_leaf(stored.raw_leaf)
        if stored.index != tree.size or leaf_hash != stored.leaf_hash:
            raise TamperError(f"leaf {tree.size} was changed", index=tree.size, code="leaf_changed", hint=VERIFY_FIRST)
        tree.append(leaf_hash)
        if tree.size % _PROGRESS_EVERY == 0:
            progress(tree.size, total)
    if size is None and (tree.size, tree.root()) != (state.size, state.root()):
        raise TamperError("the state row is not that of the leaves", code="state_changed", hint=VERIFY_FIRST)
    return tree.size, tree.root()
