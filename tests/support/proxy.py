"""A TCP proxy between bmid and its broker that behaves badly on demand: it cuts connections in the middle of what is
sent, or lets nothing through but heartbeats. It knows AMQP's frames and nothing of what is in them.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["Proxy"]

_HEADER = struct.Struct(">BHI")  # kind, channel, length of the payload, which an end byte follows
_RESET = struct.pack("ii", 1, 0)  # a close with RST instead of FIN


class _Pair:
    """One connection. `left`: bytes from bmid until it is cut; None: never. `mute`: what the broker says on channels
    goes nowhere, and connections stay alive by their heartbeats on channel 0."""

    def __init__(self, near: socket.socket, far: socket.socket, ended: Callable[[_Pair], None]) -> None:
        self.said = b""
        self.left: int | None = None
        self.mute = False
        self._sides = (near, far)
        self._ended = ended
        for carry in (self._there, self._back):
            threading.Thread(target=self._guarded, args=(carry,), daemon=True).start()

    def cut(self) -> None:
        """Away with it, on both sides."""
        for side in self._sides:
            with suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                side.shutdown(socket.SHUT_RD)
            side.close()

    def _guarded(self, carry: Callable[[], None]) -> None:
        with suppress(OSError, EOFError):
            carry()
        self.cut()
        self._ended(self)

    def _there(self) -> None:
        near, far = self._sides
        while data := near.recv(1 << 16):
            if len(self.said) < 4096:
                self.said += data  # who it is, is said at the beginning
            if self.left is not None:
                data = data[: self.left]
                self.left -= len(data)
            far.sendall(data)
            if self.left == 0:
                return

    def _back(self) -> None:
        near, far = self._sides
        while True:
            header = _exactly(far, _HEADER.size)
            _, channel, length = _HEADER.unpack(header)
            frame = header + _exactly(far, length + 1)
            if not (self.mute and channel):
                near.sendall(frame)


class Proxy:
    """Stands before `broker` (host, port), at a port of its own. Connections go by the last word of
    the name that the broker shows, such as `relay`."""

    def __init__(self, broker: tuple[str, int], address: str = "127.0.0.1") -> None:
        self._broker = broker
        self._listener = socket.create_server((address, 0))
        self.address = address
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[_Pair] = []
        self.cuts = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in list(self._pairs):
            pair.cut()

    def before(self, url: str) -> str:
        """The broker's URL, by way of this proxy."""
        here = f"{self.address}:{self.port}"
        return url.replace(f"{self._broker[0]}:{self._broker[1]}", here)

    def cut(self, name: str, after: int = 0, seconds: float = 20) -> None:
        """Cut a connection when bmid has sent so many bytes more; returns when it is cut."""
        pair = self._find(name, seconds)
        if after:
            pair.left = after
        else:
            pair.cut()
        end = time.monotonic() + seconds
        while pair in self._pairs:
            assert time.monotonic() < end, f"nothing was sent by {name}"
            time.sleep(0.01)
        self.cuts += 1

    def mute(self, name: str) -> None:
        """From now on this connection is told nothing but that the broker lives. One that is opened anew is whole."""
        self._find(name, 20).mute = True

    def _find(self, name: str, seconds: float) -> _Pair:
        end = time.monotonic() + seconds
        while not (found := [pair for pair in list(self._pairs) if f" {name}".encode() in pair.said]):
            assert time.monotonic() < end, f"there is no connection of {name}"
            time.sleep(0.01)
        return found[0]

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._broker, 5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for side in (near, far):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append(_Pair(near, far, self._forget))

    def _forget(self, pair: _Pair) -> None:
        with suppress(ValueError):
            self._pairs.remove(pair)


def _exactly(side: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = side.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return data
