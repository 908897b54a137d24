"""A virtual node: a diskless machine (QEMU without KVM) that boots over PXE, with all of its state in one folder.

`node.json` says what the machine is, `boot.json` from where it boots next, `qemu.pid` whether it is on,
`console.log` what its serial console printed since it was last powered on (`console.old.log`: before that), and
`console.sock` is the live console. So any process that knows the folder can power it on and off and look at it.

Its BMC (Redfish) is lab/redfish.py; what it boots is not known here.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lab.monitor import Monitor
from lab.place import short_folder, socket_path
from lab.process import LabError, Process, wait_for

Firmware = Literal["bios", "uefi"]
BootDevice = Literal["disk", "pxe"]
OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")


@dataclass(frozen=True)
class Machine:
    """What a node is made of. `memory` in MiB; `disk` a local disk (a raw file), if it has one.

    `ipxe` says whether its NIC has iPXE in its ROM. Without it, UEFI's own PXE fetches the loader first, as on most
    real machines; a BIOS node has no other PXE to boot with.
    """

    name: str
    mac: str
    namespace: str
    tap: str
    firmware: Firmware = "bios"
    memory: int = 512
    cpus: int = 1
    disk: str | None = None
    ipxe: bool = True


class VirtualNode:
    """The node whose state lies in `folder`; `machine` is needed the first time and remembered there."""

    def __init__(self, folder: Path, machine: Machine | None = None) -> None:
        self.folder = folder.absolute()
        if machine is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder / "node.json", asdict(machine))
        self.console = self.folder / "console.log"
        self.console_socket = socket_path(self.folder, "console.sock")
        self._monitor = socket_path(self.folder, "monitor.sock")
        self.process = self._process()

    @property
    def machine(self) -> Machine:
        """What it is made of: read each time, since another process may have given it a new network or disk."""
        file = self.folder / "node.json"
        if not file.exists():
            raise LabError(f"node: {file} is missing")
        return Machine(**json.loads(file.read_text()))

    @property
    def name(self) -> str:
        """The node's name."""
        return self.machine.name

    @property
    def alive(self) -> bool:
        """Whether it has power: its QEMU runs."""
        return self.process.alive()

    @property
    def boot_once(self) -> BootDevice | None:
        """Where it boots from at the next power-on only; None: as usual (its disk, or PXE when it has none)."""
        file = self.folder / "boot.json"
        once: BootDevice | None = json.loads(file.read_text())["once"] if file.exists() else None
        return once

    @boot_once.setter
    def boot_once(self, device: BootDevice | None) -> None:
        _write(self.folder / "boot.json", {"once": device})

    def power_on(self) -> None:
        """Give it power; nothing happens when it has. Raises LabError when QEMU does not start."""
        with self._held():
            if self.alive:
                return
            first = self.boot_once or self._usual()
            if self.console.exists():
                self.console.replace(self.folder / "console.old.log")
            for path in (self.console_socket, self._monitor):
                if path.parent != self.folder:
                    short_folder(self.folder)
                path.unlink(missing_ok=True)
            self.process = self._process(first)
            self.process.start()
            self.process.wait_for(self._monitor.exists, 60, "its monitor")
            if self.boot_once:
                self.boot_once = None
                # "Once" ends with this boot: when the machine resets itself, it is as usual again.
                self._order(self._usual())

    def power_off(self) -> None:
        """Take its power away, whatever it is doing; nothing happens when it is off. Returns when it is off."""
        with self._held():
            self.process.kill()

    def reset(self) -> None:
        """Power it off and on again, or on when it is off."""
        self.power_off()
        self.power_on()

    def press_button(self) -> None:
        """Ask its operating system to shut down (ACPI); what it makes of that is its own affair."""
        if self.alive:
            Monitor(self._monitor).command("system_powerdown")

    def boot_order(self) -> list[BootDevice]:
        """What it will boot from when it is reset, first one first; asks the running machine."""
        index: dict[BootDevice, int] = {
            device: Monitor(self._monitor).command("qom-get", path=f"/machine/peripheral/{part}", property="bootindex")
            for device, part in self._devices().items()
        }
        return sorted(index, key=lambda device: index[device])

    def console_text(self) -> str:
        """All that its serial console printed since it was last powered on."""
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def wait_for_console(self, text: str, seconds: float) -> str:
        """Wait until the console shows a whole line with `text`; that line. Raises LabError with the last lines."""

        def lines() -> list[str]:
            shown = self.console_text().replace("\r", "\n").splitlines(keepends=True)
            return [line.strip() for line in shown if text in line and line.endswith("\n")]

        self._wait_for_text(lambda: lines() != [], seconds, text)
        return lines()[0]

    def log_in(self, seconds: float = 60) -> None:
        """Wait for the console's login, and log in as root without password. Raises LabError."""
        # What is typed before getty asks is thrown away.
        self._wait_for_text(lambda: " login: " in self.console_text(), seconds, "login:")
        self.type("root\n")
        self._wait_for_text(lambda: "# " in self.console_text().rpartition(" login: ")[2], seconds, "a shell")

    def type(self, text: str) -> None:
        """Type `text` on its serial console."""
        with socket.socket(socket.AF_UNIX) as console:
            console.connect(str(self.console_socket))
            console.sendall(text.encode())
            # What the machine hasn't read when the connection closes is lost, and its UART takes 16 bytes at a time.
            wait_for(lambda: _unread(console) == 0, 60, f"node {self.name}: reading what is typed")

    def _wait_for_text(self, shown: Callable[[], bool], seconds: float, text: str) -> None:
        try:
            wait_for(shown, seconds, f"node {self.name}: {text!r} on its console")
        except LabError as error:
            last = "\n".join(self.console_text().splitlines()[-25:])
            raise LabError(f"{error}\n{last}") from None

    def _usual(self) -> BootDevice:
        return "disk" if self.machine.disk else "pxe"

    def _process(self, first: BootDevice = "pxe") -> Process:
        return Process("qemu", self.folder, self._arguments(first), netns=self.machine.namespace)

    def _arguments(self, first: BootDevice) -> list[str]:
        machine = self.machine
        rom = "" if machine.ipxe else ",romfile="
        index = {"pxe": 1 if first == "pxe" else 2, "disk": 1 if first == "disk" else 2}
        arguments = [
            "qemu-system-x86_64", "-name", machine.name, "-accel", "tcg,thread=multi",
            # graphics=off has SeaBIOS, iPXE and GRUB print to the serial console.
            "-machine", "q35,smm=off,graphics=off" if machine.firmware == "uefi" else "pc,graphics=off",
            "-m", str(machine.memory), "-smp", str(machine.cpus), "-cpu", "max",
            "-nodefaults", "-display", "none", "-uuid", self._uuid(),
            "-chardev", f"socket,id=console,path={self.console_socket},server=on,wait=off,logfile={self.console}",
            "-serial", "chardev:console",
            "-qmp", f"unix:{self._monitor},server=on,wait=off",
            "-netdev", f"tap,id=net0,ifname={machine.tap},script=no,downscript=no",
            "-device", f"virtio-net-pci,id=nic0,netdev=net0,mac={machine.mac},bootindex={index['pxe']}{rom}",
            "-device", "virtio-rng-pci",
        ]  # fmt: skip
        if machine.firmware == "uefi":
            arguments += self._flash()
        if machine.disk:
            arguments += ["-drive", f"if=none,id=disk0,file={machine.disk},format=raw"]
            arguments += ["-device", f"virtio-blk-pci,id=local0,drive=disk0,bootindex={index['disk']}"]
        return arguments

    def _flash(self) -> list[str]:
        """The firmware's code, and variables of this node's own."""
        variables = self.folder / "uefi-variables.fd"
        if not variables.exists():
            shutil.copy(OVMF_VARS, variables)
        return [
            "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}",
            "-drive", f"if=pflash,unit=1,format=raw,file={variables}",
        ]  # fmt: skip

    def _uuid(self) -> str:
        return f"00000000-0000-4000-8000-{self.machine.mac.replace(':', '')}"

    def _devices(self) -> dict[BootDevice, str]:
        """QEMU's name for each device that it can boot from."""
        return {"pxe": "nic0", "disk": "local0"} if self.machine.disk else {"pxe": "nic0"}

    def _order(self, first: BootDevice) -> None:
        """Tell the running machine what to boot from when it is reset. No index may be in use twice on the way."""
        if self.machine.disk:
            for device, index in (("nic0", 1 if first == "pxe" else 4), ("local0", 3)):
                Monitor(self._monitor).command(
                    "qom-set", path=f"/machine/peripheral/{device}", property="bootindex", value=index
                )

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One process at a time works the power switch."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _unread(sender: socket.socket) -> int:
    """Bytes sent that the other end has not read yet."""
    return int(struct.unpack("i", fcntl.ioctl(sender, termios.TIOCOUTQ, bytes(4)))[0])


def _write(path: Path, values: dict[str, Any]) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(values, indent=1))
    new.replace(path)
