"""A small iSCSI initiator in this process: one session, one command at a time, from any network namespace.

It says exactly what it was answered, and when it was answered nothing; what to do then is its user's business. Digests,
R2T and error recovery are left out (RFC 7143): writes fit into the immediate data.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Door", "Failed", "Lost", "Session", "enter"]

BLOCK = 512
CLONE_NEWNET = 0x40000000
UNIT_ATTENTION = 6


class Lost(Exception):
    """The connection has ended, or nothing was answered in time; what was asked may have been done."""


class Failed(Exception):
    """The target answered that it wasn't done."""


@dataclass(frozen=True)
class Door:
    """Where a disk's target is, who may enter, and from which address."""

    portal: tuple[str, int]
    iqn: str
    user: str
    secret: str
    source: str


def enter(namespace: str) -> None:
    """This thread lives in a network namespace from now on."""
    file = os.open(Path("/run/netns") / namespace, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(file, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(file)


class Session:
    """A log-in; `patience` is how long an answer may take, in seconds. Raises Lost, or Failed where it is refused."""

    def __init__(self, door: Door, patience: float) -> None:
        self._tag = self._sequence = self._seen = 0
        try:
            self._socket = socket.create_connection(door.portal, patience, source_address=(door.source, 0))
        except OSError as error:
            raise Lost(str(error)) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._log_in(door)
            self._ready()
        except BaseException:
            self.close()
            raise

    def write(self, offset: int, data: bytes) -> None:
        """Write; at most 8 KiB, in whole blocks. When it returns, it is on disk."""
        cdb = struct.pack(">BBIBHB", 0x2A, 0, offset // BLOCK, 0, len(data) // BLOCK, 0)
        self._command(cdb, 0x20, len(data), data)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes; at most 8 KiB."""
        cdb = struct.pack(">BBIBHB", 0x28, 0, offset // BLOCK, 0, length // BLOCK, 0)
        return self._command(cdb, 0x40, length, b"")

    def close(self) -> None:
        """End the connection, without a word."""
        self._socket.close()

    def _log_in(self, door: Door) -> None:
        who = {"InitiatorName": "iqn.2000-01.test:writer", "TargetName": door.iqn, "SessionType": "Normal"}
        self._login(0, 0, who | {"AuthMethod": "CHAP"})
        asked = self._login(0, 0, {"CHAP_A": "5"})
        identifier, challenge = int(asked["CHAP_I"]), bytes.fromhex(asked["CHAP_C"][2:])
        answer = hashlib.md5(bytes([identifier]) + door.secret.encode() + challenge).hexdigest()  # noqa: S324 - CHAP
        self._login(0, 0x81, {"CHAP_N": door.user, "CHAP_R": f"0x{answer}"})
        wishes = {"HeaderDigest": "None", "DataDigest": "None", "InitialR2T": "Yes", "ImmediateData": "Yes",
                  "MaxRecvDataSegmentLength": "65536", "FirstBurstLength": "65536", "MaxBurstLength": "262144",
                  "DefaultTime2Wait": "0", "DefaultTime2Retain": "0", "MaxOutstandingR2T": "1", "MaxConnections": "1",
                  "ErrorRecoveryLevel": "0"}  # fmt: skip
        self._login(1, 0x87, wishes)

    def _login(self, stage: int, flags: int, keys: dict[str, str]) -> dict[str, str]:
        text = b"".join(f"{key}={value}".encode() + b"\0" for key, value in keys.items())
        head = struct.pack(
            ">BBBBI6sHIHHII16x", 0x43, flags or stage << 2 | 1, 0, 0, len(text), b"\x80\0\0\0\0\x01", 0, 1, 0, 0,
            self._sequence, self._seen,
        )  # fmt: skip
        answer, data = self._exchange(head, text)
        if answer[0] & 0x3F != 0x23 or answer[36]:
            raise Failed(f"log-in: opcode {answer[0]:#x}, status {answer[36]}.{answer[37]}")
        self._seen = struct.unpack(">I", answer[24:28])[0] + 1
        return dict(part.split("=", 1) for part in data.decode().split("\0") if "=" in part)

    def _ready(self) -> None:
        """A new session is told at once that it is new, by a failure of its first command."""
        for _ in range(4):
            try:
                self._command(bytes(6), 0, 0, b"")
            except Failed as error:
                if error.args[-1] != UNIT_ATTENTION:
                    raise
            else:
                return

    def _command(self, cdb: bytes, way: int, length: int, data: bytes) -> bytes:
        self._tag += 1
        head = struct.pack(
            ">BBHIQIIII16s", 0x01, 0x80 | way | 1, 0, len(data), 1 << 48, self._tag, length, self._sequence, self._seen,
            cdb.ljust(16, b"\0"),
        )  # fmt: skip
        self._sequence += 1
        answer, content = self._exchange(head, data)
        found = b""
        while answer[0] & 0x3F == 0x25 and not answer[1] & 1:
            found += content
            answer, content = self._receive()
        opcode, status = answer[0] & 0x3F, answer[3]
        if opcode == 0x25:
            found, content = found + content, b""
        elif opcode != 0x21:
            raise Lost(f"the target says {opcode:#x}")
        self._seen = struct.unpack(">I", answer[24:28])[0] + 1
        if status:
            raise Failed(f"status {status}", content[4] & 15 if len(content) > 4 else -1)
        return found

    def _exchange(self, head: bytes, data: bytes) -> tuple[bytes, bytes]:
        try:
            self._socket.sendall(head + data + bytes(-len(data) % 4))
        except OSError as error:
            raise Lost(str(error)) from error
        return self._receive()

    def _receive(self) -> tuple[bytes, bytes]:
        head = self._bytes(48)
        length = int.from_bytes(head[5:8], "big")
        return head, self._bytes(length + -length % 4)[:length]

    def _bytes(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            try:
                more = self._socket.recv(length - len(found))
            except OSError as error:
                raise Lost(str(error)) from error
            if not more:
                raise Lost("the target has closed the connection")
            found += more
        return found
