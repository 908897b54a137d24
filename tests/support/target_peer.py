"""The other side of targets: disks, initiators that log in, and a daemon that can be killed; a twin and a real tgtd."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from bmid.drivers.base import Backing, Export, Target
from bmid.drivers.target.memory import MemoryTarget
from bmid.drivers.target.tgt import TgtShard, TgtTarget
from lab.tgtd import Tgtd

SECRET = "ABCDEFGHIJKLMNOP"
SEED_SIZE = 65536


class Peer(Protocol):
    """A target driver with the other side of its targets: disks, initiators, and a daemon that can be killed."""

    target: Target

    def export(self, number: int, **changes: object) -> Export: ...
    def enters(self, export: Export) -> bool: ...
    def session(self, export: Export, read: int, written: int) -> Callable[[], None]: ...
    def load(self, export: Export) -> Callable[[], None]: ...
    def seed(self, number: int) -> Backing: ...
    def lose(self) -> None: ...
    def freeze(self) -> None: ...


class MemoryPeer:
    def __init__(self) -> None:
        self.target = MemoryTarget(["0"])

    def export(self, number: int, **changes: object) -> Export:
        return _export(number, f"/disk{number}", changes)

    def enters(self, export: Export) -> bool:
        try:
            self._log_in(export)
        except PermissionError:
            return False
        return True

    def session(self, export: Export, read: int, written: int) -> Callable[[], None]:
        session = self._log_in(export)
        self.target.move("0", export.number, session, read, written)
        return lambda: self.target.log_out("0", export.number, session)

    def load(self, export: Export) -> Callable[[], None]:
        self.session(export, 1 << 20, 1 << 20)
        return lambda: None

    def seed(self, number: int) -> Backing:
        return Backing("memory", f"/seed{number}")

    def lose(self) -> None:
        self.target.restart("0")

    def freeze(self) -> None:
        self.target.down.add("0")

    def _log_in(self, export: Export) -> int:
        return self.target.log_in("0", export.number, address="127.0.0.1", user=export.user, secret=export.secret)


class TgtPeer:
    """Initiators are libiscsi's (QEMU's too), from 127.0.0.1."""

    def __init__(self, tgtd: Tgtd, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.tgtd = tgtd
        self.port = int(self.tgtd.portal.rpartition(":")[2])
        self.target = TgtTarget({"0": TgtShard(self.tgtd.socket, "127.0.0.1", self.port)}, timeout=4)

    def export(self, number: int, **changes: object) -> Export:
        disk = self.folder / f"disk{number}"
        with disk.open("ab") as file:
            file.truncate(16 << 20)
        return _export(number, str(disk), changes)

    def enters(self, export: Export) -> bool:
        done = subprocess.run(["iscsi-inq", self._url(export)], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode == 0 and "Peripheral" in done.stdout

    def session(self, export: Export, read: int, written: int) -> Callable[[], None]:
        commands = (f"read 0 {read}", f"write 0 {written}", "sleep 600000")
        spelled = [word for command in commands for word in ("-c", command)]
        process = self._start("qemu-io", "-f", "raw", *spelled, self._url(export))
        return lambda: self._end(process)

    def load(self, export: Export) -> Callable[[], None]:
        process = self._start("qemu-img", "bench", "-w", "-c", "100000000", "-d", "32", "-f", "raw", self._url(export))
        return lambda: self._end(process)

    def seed(self, number: int) -> Backing:
        """A small file that says whose seed it is, on each of its 512 bytes."""
        file = self.folder / f"seed{number}.iso"
        file.write_bytes(bytes([number]) * SEED_SIZE)
        return Backing("rdwr", str(file))

    def on_lun(
        self, export: Export, lun: int, command: str, *, write: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """One command of qemu-io on a LUN."""
        mode = [] if write else ["-r"]
        spelled = ["qemu-io", *mode, "-f", "raw", "-c", command, self._url(replace(export, lun=lun))]
        return subprocess.run(spelled, capture_output=True, text=True, timeout=60, check=False)

    def lose(self) -> None:
        self.tgtd.kill()
        self.tgtd.start()

    def freeze(self) -> None:
        self.tgtd.freeze()

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.stack.callback(self._end, process)
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(60)

    def _url(self, export: Export) -> str:
        return f"iscsi://{export.user}%{export.secret}@127.0.0.1:{self.port}/{export.iqn}/{export.lun}"


def _export(number: int, path: str, changes: dict[str, object]) -> Export:
    export = Export(
        number=number,
        iqn=f"iqn.2026-01.org.bmi:disk{number}",
        backing=Backing("rdwr", path),
        address="127.0.0.1",
        user=f"user{number}",
        secret=SECRET,
    )
    return replace(export, **changes)


def wait_until(what: Callable[[], bool], seconds: float = 30) -> None:
    last = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < last, "it didn't come to pass in time"
        time.sleep(0.02)
