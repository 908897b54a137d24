"""The file of a backup: JSON lines, compressed with gzip. A header, then each table's name and columns followed by its
rows, and at the end the digest of all lines before.

So it needs no tool of a database, and says by itself whether it is whole. What its rows mean is not known here.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from bmid.errors import BmiError, PermanentError

__all__ = ["Archive", "Progress", "Row", "Summary", "unusable", "write"]

FORMAT, VERSION = "bmid-backup", 1
STEP = 200  # rows between two words about the progress
Progress = Callable[[int, int], None]  # rows done, rows in all


class Row(NamedTuple):
    """A row, and where it belongs."""

    table: str
    columns: Sequence[str]
    values: Sequence[Any]


@dataclass(frozen=True)
class Summary:
    """What is in a backup. `tables`: how many rows each has; `size` is that of the file in bytes, `sha256` that of its
    lines."""

    file: str
    size: int
    revision: str
    program: str
    database: str
    head: str
    taken_at: str
    tables: dict[str, int]
    sha256: str

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(self.tables.values())


def write(
    file: Path,
    header: Mapping[str, Any],
    tables: Iterable[tuple[str, Sequence[str], Iterable[Sequence[Any]]]],
    progress: Progress,
) -> str:
    """A new file for its owner alone, safe on its disk; returns the digest of its lines. `header` has the number of
    rows by table. PermanentError `backup-unusable`."""
    digest, done, total = hashlib.sha256(), 0, sum(header["tables"].values())
    with _meaning(file), _created(file) as raw:
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as out:

            def put(value: object) -> None:
                line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
                digest.update(line)
                out.write(line)

            put({"format": FORMAT, "version": VERSION, **header})
            for name, columns, rows in tables:
                put({"table": name, "columns": list(columns)})
                for row in rows:
                    put(row)
                    done += 1
                    _tell(progress, done, total)
            found = digest.hexdigest()
            put({"sha256": found})
        raw.flush()
        os.fsync(raw.fileno())
    return found


class Archive:
    """A backup that is read from its first line to its last, once. PermanentError `backup-unusable` where it is not as
    it was written; that all of it is, is known behind the last row."""

    def __init__(self, file: Path, revision: str) -> None:
        self._file = file
        self._revision = revision
        self._digest = hashlib.sha256()
        self._header: dict[str, Any] = {}

    def rows(self, progress: Progress | None = None) -> Iterator[Row]:
        """Every row, those of a table together."""
        with _meaning(self._file), gzip.open(self._file, "rb") as lines:
            self._header = self._begin(self._line(lines))
            total, name = sum(self._header["tables"].values()), ""
            counts: dict[str, int] = {}
            columns: Sequence[str] = ()
            while True:
                before, line = self._digest.hexdigest(), self._line(lines)
                if isinstance(line, list):
                    counts[name] += 1
                    if progress is not None:
                        _tell(progress, sum(counts.values()), total)
                    yield Row(name, columns, line)
                elif "table" in line:
                    name, columns = line["table"], line["columns"]
                    counts[name] = 0
                else:
                    break
            if line["sha256"] != before or counts != self._header["tables"] or lines.read(1):
                raise unusable(f"{self._file} is not as it was written")
            self._header["sha256"] = before

    def _begin(self, header: Any) -> dict[str, Any]:
        if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
            raise unusable(f"{self._file} is no backup that this bmid knows")
        if header["revision"] > self._revision:
            detail = f"{self._file} has schema {header['revision']}, and this bmid knows {self._revision}"
            raise unusable(detail, "Use a bmid as new as the one that wrote it.")
        return header

    def _line(self, lines: gzip.GzipFile) -> Any:
        line = lines.readline()
        if not line.endswith(b"\n"):
            raise unusable(f"{self._file} is cut off")
        self._digest.update(line)
        return json.loads(line)

    def summary(self) -> Summary:
        """Of one that was read to its end."""
        said = {name: value for name, value in self._header.items() if name in Summary.__dataclass_fields__}
        return Summary(file=str(self._file), size=self._file.stat().st_size, **said)


def unusable(detail: str, todo: str = "Take another backup.") -> BmiError:
    """It can't be used."""
    return PermanentError("backup-unusable", detail, todo=todo)


def _tell(progress: Progress, done: int, total: int) -> None:
    if done % STEP == 0 or done == total:
        progress(done, total)


@contextmanager
def _created(path: Path) -> Iterator[IO[bytes]]:
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        yield file


@contextmanager
def _meaning(file: Path) -> Iterator[None]:
    """What goes wrong with the file, for people."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise unusable(f"{file} is damaged ({error})") from error
    except OSError as error:
        todo = "See whether it is there, and whether its disk has room."
        raise unusable(f"{file}: {error.strerror or error}", todo) from error
