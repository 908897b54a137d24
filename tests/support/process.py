"""What still runs on this machine, by the folder that it belongs to."""

from __future__ import annotations

import os
from pathlib import Path

from lab import procfs
from lab.place import short_name

__all__ = ["processes_of"]


def processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that mention the folder, or its short one, or work in it."""
    names = (str(folder), str(short_name(folder)))
    found = []
    for process in procfs.every():
        try:
            line = Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = os.readlink(f"/proc/{process.pid}/cwd")
        except OSError:
            continue
        if process.pid != os.getpid() and any(name in line or place.startswith(name) for name in names):
            found.append(line)
    return found
