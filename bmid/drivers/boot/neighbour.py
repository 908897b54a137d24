"""Whether an address answers ARP, as the kernel's neighbour table knows it."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from contextlib import suppress

__all__ = ["Neighbours"]

_SILENCE = 3.0  # seconds: the kernel asks three times, a second apart
_OLD = 30.0  # seconds after which a probe that nobody looked at any more is begun anew
_PATIENCE = 0.05  # seconds that one call waits for an answer; on a wire it takes a millisecond
_DISCARD = 9  # a UDP port that nobody answers on; only the ARP before it matters


class Neighbours:
    """The addresses behind one interface. Thread-safe.

    `answers` starts a probe or looks at the one that is under way, and takes less than 0.1 s.
    """

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._probes: dict[str, tuple[float, float]] = {}  # address → begun, last looked at
        self._lock = threading.Lock()

    def answers(self, address: str) -> bool | None:
        """True: it answered just now. False: it has been silent for 3 s of asking. None: not known yet."""
        now = self._clock()
        with self._lock:
            since, looked = self._probes.get(address, (now, -_OLD))
            new = now - looked >= _OLD
            since = now if new else since
            self._probes[address] = since, now
        if new:
            # What the table says may be half a minute old. Without the right to drop the entry, its age tells.
            self._ip("neigh", "del", address, "dev", self._interface)
        self._provoke(address)
        answer = self._look(address, since)
        if answer is None and new:
            threading.Event().wait(_PATIENCE)
            answer = self._look(address, since)
        if answer:
            with self._lock:
                self._probes.pop(address, None)
        return answer

    def _provoke(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.setblocking(False)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode() + b"\0")
            probe.sendto(b"", (address, _DISCARD))

    def _look(self, address: str, since: float) -> bool | None:
        shown = self._ip("-s", "-j", "neigh", "show", "to", address, "dev", self._interface)
        try:
            entries = json.loads(shown or "[]")
            entry = entries[0] if entries else {}
            states = set(entry.get("state", []))
            age = float(entry.get("confirmed", 1 << 31))
        except (ValueError, TypeError, AttributeError, LookupError):
            return None
        asked = self._clock() - since
        if "REACHABLE" in states:
            return True if age <= asked + 1 else None  # ages are whole seconds
        if states & {"FAILED", "INCOMPLETE"} and asked >= _SILENCE:
            return False
        return None

    def _clock(self) -> float:
        return time.monotonic()

    def _ip(self, *arguments: str) -> str:
        try:
            done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=0.5, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout
