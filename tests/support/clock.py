"""A clock of their own for processes that a test starts, and never the machine's: libfaketime, before all libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Clock"]

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), Path("/missing/libfaketimeMT.so.1"))


class Clock:
    """What is started `within`, or by the command `before` it, has this clock, which can be set while it runs. Waits
    are not touched: they go by the time since the machine's start."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self._environment = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, seconds: int) -> None:
        """So much ahead of the machine's, or behind it, from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.chmod(0o644)
        new.replace(self._file)

    @property
    def before(self) -> list[str]:
        """For a program of another account: the library shares its memory with none that was started without it."""
        assert LIBRARY.exists(), "libfaketime is missing (script/setup installs it)"
        return ["env", *(f"{name}={value}" for name, value in self._environment.items())]

    @contextmanager
    def within(self) -> Iterator[None]:
        """Whatever this process starts now."""
        assert LIBRARY.exists(), "libfaketime is missing (script/setup installs it)"
        before = {name: os.environ.get(name) for name in self._environment}
        os.environ.update(self._environment)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
