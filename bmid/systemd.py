"""sd_notify: telling the service manager that we are ready, alive, stopping, and what we do. See sd_notify(3)."""

from __future__ import annotations

import os
import socket

__all__ = ["notify"]


def notify(**state: str) -> bool:
    """Send READY="1", STATUS="..." and the like; False where no service manager listens."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    message = "\n".join(f"{key}={value}" for key, value in state.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
            link.connect(address)
            link.sendall(message.encode())
    except OSError:
        return False
    return True
