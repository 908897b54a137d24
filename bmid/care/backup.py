"""`bmid backup` and `bmid restore`: all rows in one file, the same for SQLite and PostgreSQL.

A site moves with it from one database to the other. It holds what the rows hold, secrets of new systems among it.
"""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from importlib.metadata import version
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from bmid.care.archive import Archive, Progress, Summary, unusable, write
from bmid.care.vacancy import require_empty, require_rest
from bmid.parts import make_database, take_locks
from bmid.settings import Settings
from bmid.store import dump
from bmid.store.database import Database, Tx
from bmid.store.schema import REVISION

__all__ = ["Backup"]


class Backup:
    """Works on the database that the settings name; `progress` hears of rows done and rows in all."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings = settings
        self._progress = progress

    def take(self, file: Path) -> Summary:
        """Write a backup, as of one moment, while the daemon is at work; read it back, and only then give it its name.
        A file of that name is replaced. PermanentError `backup-unusable` where that can't be."""
        new = file.with_name(f".{file.name}.{os.getpid()}.new")
        database = make_database(self._settings)
        try:
            database.verify()
            with database.snapshot() as tx:
                tables = ((name, dump.columns(name), dump.rows(tx, name)) for name in dump.tables())
                written = write(new, self._header(tx, database), tables, self._progress)
            read = inspect(new)
            if read.sha256 != written:
                raise unusable(f"what was read of {file} is not what was written")
            new.replace(file)
            _sync(file.parent)
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            database.close()
        return replace(read, file=str(file))

    def _header(self, tx: Tx, database: Database) -> dict[str, Any]:
        return {
            "revision": REVISION,
            "program": version("bmi"),
            "database": database.engine.dialect.name,
            "head": self._settings.head.name,
            "taken_at": tx.now.isoformat(),
            "tables": dict(dump.counts(tx)),
        }

    def restore(self, file: Path, *, replace: bool = False, rehearse: bool = False) -> Summary:
        """Put the rows of a backup into the database, which is empty, or (`replace`) holds nothing that is wanted; all
        of them or none. `rehearse`: only see whether it could be.

        Misconfigured while a bmid is at work on it; Refused `database-occupied`; PermanentError `backup-unusable`.
        """
        found = inspect(file, self._progress if rehearse else None)
        database = make_database(self._settings)
        with closing(database), ExitStack() as held:
            database.verify()
            for lock in take_locks(self._settings, database):
                held.enter_context(lock)
            with database.write() as tx:
                require_rest(tx, self._settings.engine.dead_after)
                if not replace:
                    require_empty(tx, "Take a backup of it; then say --replace, and all that is in it goes.")
                if not rehearse:
                    self._fill(tx, Archive(file, REVISION))
        return found

    def _fill(self, tx: Tx, archive: Archive) -> None:
        dump.clear(tx)
        for (name, columns), rows in groupby(archive.rows(self._progress), itemgetter(0, 1)):
            if name not in dump.tables() or not set(columns) <= set(dump.columns(name)):
                raise unusable(f"this bmid knows no table {name} with {', '.join(columns)}")
            dump.fill(tx, name, columns, (row.values for row in rows))
        dump.settle(tx, uuid.uuid4().hex)


def inspect(file: Path, progress: Progress | None = None) -> Summary:
    """What is in a backup, all of it read. PermanentError `backup-unusable` where it is not whole."""
    archive = Archive(file, REVISION)
    for _ in archive.rows(progress):
        pass
    return archive.summary()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
