"""Whoever hears what a daemon tells its service manager."""

from __future__ import annotations

import socket
from pathlib import Path

__all__ = ["Notified"]


class Notified:
    """A service manager that keeps what it is told; the daemon has the path in NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.link.bind(str(path))
        self.link.setblocking(False)

    def heard(self) -> list[str]:
        """Every message since the last look."""
        found = []
        while True:
            try:
                found.append(self.link.recv(4096).decode())
            except BlockingIOError:
                return found
