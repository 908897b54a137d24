"""tgtd's management socket: one request on one connection, and what its answers mean.

The binary protocol of tgt 1.0.85 lives here, and the translation of its errors. What a request is for doesn't.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Collection
from enum import IntEnum
from pathlib import Path

from bmid.drivers.base.advice import GARBLED
from bmid.errors import BmiError, PermanentError, TransientError

__all__ = ["Answer", "Mode", "Op", "TgtSocket"]

# mode, op, lld, length with parameters, tid, sid, lun, cid, host, device type, account direction, pack, force
_REQUEST = struct.Struct("=II64sIiQQIIIIII")
_REPLY = struct.Struct("=II")  # error, length with these eight bytes
_LUN_NONE = 2**64 - 1
_LARGEST = 64 << 20  # an answer of 300 targets has 0.4 MB; whatever is this long is no answer of tgtd


class Mode(IntEnum):
    """What a request is about."""

    SYSTEM = 0
    TARGET = 1
    DEVICE = 2
    PORTAL = 3
    LLD = 4
    SESSION = 5
    CONNECTION = 6
    ACCOUNT = 7


class Op(IntEnum):
    """What is to be done with it."""

    NEW = 0
    DELETE = 1
    SHOW = 2
    BIND = 3
    UNBIND = 4
    UPDATE = 5
    STATS = 6


class Answer(IntEnum):
    """The answers that we tell apart; tgtd has more."""

    DONE = 0
    NO_DRIVER = 3
    NO_TARGET = 4
    NO_LUN = 5
    NO_SESSION = 6
    NO_CONNECTION = 7
    TARGET_EXISTS = 9
    LUN_EXISTS = 10
    ACL_EXISTS = 12
    NO_ACL = 13
    USER_EXISTS = 14
    NO_USER = 15
    INVALID = 17
    TARGET_ACTIVE = 19
    LUN_ACTIVE = 20
    UNSUPPORTED = 22
    UNKNOWN_PARAMETER = 23


_HOPELESS = {Answer.NO_DRIVER, Answer.UNSUPPORTED, Answer.UNKNOWN_PARAMETER}


class TgtSocket:
    """A tgtd at the other end of a path. Thread-safe: it keeps no connection.

    `timeout` (seconds) bounds each wait: for tgtd to take the connection, and for each part of its answer.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._timeval = struct.pack("ll", int(timeout), int(timeout % 1 * 1_000_000))

    def ask(
        self,
        mode: Mode,
        op: Op,
        number: int = -1,
        parameters: str = "",
        *,
        accept: Collection[int] = (),
        sid: int = 0,
        lun: int = _LUN_NONE,
        cid: int = 0,
    ) -> tuple[int, str]:
        """The answer's code (DONE or one of `accept`) and text.

        `parameters` is never shown in an error: it may hold a secret. Raises TransientError `target-down`,
        `target-timeout`, `target-garbled` or `target-refused`; PermanentError where this tgtd can never do it.
        """
        body = parameters.encode() + b"\0" if parameters else b""
        head = _REQUEST.pack(mode, op, b"iscsi", _REQUEST.size + len(body), number, sid, lun, cid, 0, 0, 0, 0, 0)
        try:
            code, text = self._exchange(head + body)
        except BlockingIOError:
            raise self._timed_out() from None
        except OSError as error:
            raise TransientError(
                "target-down",
                f"tgtd at {self.path} can't be reached: {error.strerror or error}",
                todo="start tgtd; its targets are put back by themselves",
            ) from None
        if code == Answer.DONE or code in accept:
            return code, text
        raise self._refused(code, f"{op.name.lower()} {mode.name.lower()} {number}")

    def _exchange(self, request: bytes) -> tuple[int, str]:
        # Timeouts are the kernel's, not Python's: those don't bound a connect() to a full queue of a frozen tgtd.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, self._timeval)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, self._timeval)
            link.connect(str(self.path))
            link.sendall(request)
            reply = self._read(link)
        code, length = _REPLY.unpack_from(reply)
        if length != len(reply):
            raise TransientError(
                "target-garbled",
                f"tgtd at {self.path} cut its answer short",
                todo=GARBLED,
            )
        return code, reply[_REPLY.size :].rstrip(b"\0").decode(errors="replace")

    def _read(self, link: socket.socket) -> bytes:
        reply = bytearray(link.recv(4096))
        last = time.monotonic() + self._timeout
        wanted = _REPLY.unpack_from(reply)[1] if len(reply) >= _REPLY.size else _REPLY.size
        while len(reply) < wanted:
            if time.monotonic() > last:
                raise self._timed_out()
            part = link.recv(min(wanted - len(reply), 1 << 18))
            if not part:
                break
            reply += part
            if len(reply) >= _REPLY.size:
                wanted = _REPLY.unpack_from(reply)[1]
            if wanted > _LARGEST:
                break
        if len(reply) < _REPLY.size:
            raise TransientError(
                "target-down",
                f"tgtd at {self.path} closed the connection without an answer",
                todo="see whether it runs, and as the user that bmid runs as",
            )
        return bytes(reply)

    def _timed_out(self) -> TransientError:
        return TransientError(
            "target-timeout",
            f"tgtd at {self.path} gave no answer within {self._timeout:g} s",
            todo="see whether tgtd is stopped, or waits for its storage",
        )

    def _refused(self, code: int, what: str) -> BmiError:
        kind: type[BmiError] = PermanentError if code in _HOPELESS else TransientError
        known = {answer.value: answer.name.lower().replace("_", " ") for answer in Answer}
        return kind("target-refused", f"tgtd at {self.path}: {what}: {known.get(code, f'error {code}')}")
