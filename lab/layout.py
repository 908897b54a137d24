"""What a lab consists of, and the nodes in it. Values only, kept in the lab's folder; nothing is started here."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from lab.node import Firmware, Machine
from lab.place import write_private
from lab.process import LabError

__all__ = ["Layout", "boot_sector"]


@dataclass(frozen=True)
class Layout:
    """`nodes` are called n1, n2, ...: odd ones start by BIOS, even ones by UEFI. Each `local_disk_every`-th has a
    local disk with a system of its own, from which it boots unless it is told to boot from the network. `memory`
    in MiB. `storage` "rbd" brings a Ceph along; `shards` is the number of tgtd of each head. Several `heads` sit in
    network namespaces of their own, and need Ceph and PostgreSQL."""

    nodes: int = 2
    storage: Literal["rbd", "directory"] = "rbd"
    database: Literal["sqlite", "postgresql"] = "sqlite"
    shards: int = 1
    local_disk_every: int = 3
    memory: int = 512
    cpus: int = 1
    heads: int = 1

    def __post_init__(self) -> None:
        if self.heads > 1 and (self.storage != "rbd" or self.database != "postgresql"):
            raise LabError("several heads share their storage and their database: rbd and postgresql")

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes' names."""
        return tuple(f"n{number}" for number in range(1, self.nodes + 1))

    def firmware(self, number: int) -> Firmware:
        """What the node with this number (1, 2, ...) starts with."""
        return "bios" if number % 2 else "uefi"

    def has_local_disk(self, number: int) -> bool:
        """Whether the node with this number has a disk of its own."""
        return bool(self.local_disk_every) and number % self.local_disk_every == 0

    def mac(self, number: int) -> str:
        """The MAC of the node's network card; two labs may have the same, since their networks never meet."""
        return f"52:54:00:77:{number >> 8:02x}:{number & 0xFF:02x}"

    def machine(self, number: int, namespace: str, tap: str, disk: Path) -> Machine:
        """The node with this number, on the tap given; `disk` is where its local disk lies, if it has one."""
        return Machine(
            name=f"n{number}",
            mac=self.mac(number),
            namespace=namespace,
            tap=tap,
            firmware=self.firmware(number),
            memory=self.memory,
            cpus=self.cpus,
            disk=str(disk) if self.has_local_disk(number) else None,
        )

    def write(self, file: Path) -> None:
        """Keep it."""
        write_private(file, json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, file: Path) -> Layout:
        """What was kept. Raises LabError where there is nothing."""
        try:
            return cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            raise LabError(f"there is no lab in {file.parent}: script/lab up") from None


def boot_sector(text: str) -> bytes:
    """A disk of 1 MiB whose boot sector prints `text` by BIOS teletype, and stops."""
    code = b"".join(b"\xb4\x0e\xb0" + bytes([letter]) + b"\xcd\x10" for letter in f"{text}\r\n".encode())
    return ((code + b"\xeb\xfe").ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")
