"""BMCs with machines behind them: a twin, the lab's Redfish service, sushy-tools' emulator."""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from bmid.drivers.base import Power
from bmid.drivers.power.memory import MemoryPower
from bmid.drivers.power.redfish import RedfishPower
from bmid.model.entity import PowerAddress
from lab.bmc import Service
from lab.node import BootDevice
from lab.process import LabError, Process, free_port
from lab.redfish import Server

PASSWORD = "correct-horse"


# Its fake machines take 1 to 11 s to switch, by lot; here always as little as they can.
EMULATOR = "import random, sys; random.randint = min; from sushy_tools.emulator.main import main; sys.exit(main())"


UUID = "27946b59-9e44-4fa7-8e91-f3527a1ef094"


class FakeNode:
    """A machine behind the lab's Redfish service that is quicker than QEMU."""

    def __init__(self) -> None:
        self.alive = False
        self.boot_once: BootDevice | None = None
        self.starts = 0

    def power_on(self) -> None:
        self.starts += not self.alive
        self.alive = True

    def power_off(self) -> None:
        self.alive = False

    def reset(self) -> None:
        if not self.alive:
            raise LabError("a machine that is off can't be restarted")
        self.starts += 1

    def press_button(self) -> None:
        self.alive = False


class Peer(Protocol):
    """A power driver with a BMC whose machine is off; `patience` is how long (s) it may take to switch."""

    power: Power
    bmc: PowerAddress
    gone: PowerAddress
    patience: float


class MemoryPeer:
    patience = 10.0

    def __init__(self) -> None:
        self.power = MemoryPower()
        self.bmc = PowerAddress("memory", "bmc-n1")
        self.gone = PowerAddress("memory", "bmc-gone")
        self.power.switch("bmc-gone").dead = True


class LabPeer:
    """The lab's service, in this process, over real HTTP."""

    patience = 10.0

    def __init__(self, stack: ExitStack, timeout: float = 3, per_bmc: int = 2) -> None:
        self.node = FakeNode()
        nodes = {"n1": self.node}
        self.credentials = {"lab": ("admin", PASSWORD), "wrong": ("admin", "wrong-horse")}
        self._service = Service(lambda: sorted(nodes), nodes.get, f"admin:{PASSWORD}")
        self.port = free_port()
        self._stack = stack
        self.start()
        self.power = RedfishPower(self.credentials.__getitem__, timeout=timeout, per_bmc=per_bmc)
        self.bmc = self.at("n1")
        self.gone = PowerAddress("redfish", f"http://127.0.0.1:{free_port()}/redfish/v1/Systems/n1")

    def start(self) -> None:
        self.server = serve(Server(self.port, self._service), self._stack)

    def at(self, system: str, credential: str | None = "lab") -> PowerAddress:
        url = f"http://127.0.0.1:{self.port}/redfish/v1/Systems/{system}"
        return PowerAddress("redfish", url, credential)

    def fault(self, **faults: object) -> None:
        self._lab("/lab/faults/n1", json.dumps(faults).encode())

    def most_at_once(self) -> int:
        most: int = json.loads(self._lab("/lab/load"))["most_at_once"]
        return most

    def _lab(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", body, 60) as answer:
            data: bytes = answer.read()
            return data


class EmulatorPeer:
    """sushy-tools' emulator with its fake machines, which take a while to switch."""

    patience = 10.0

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        port = free_port()
        config = folder / "emulator.conf"
        system = {"uuid": UUID, "name": "n1", "power_state": "Off", "nics": [], "external_notifier": False}
        config.write_text(f"SUSHY_EMULATOR_FAKE_SYSTEMS = [{system!r}]\nSUSHY_EMULATOR_STATE_DIR = {str(folder)!r}\n")
        command = [
            sys.executable,
            "-c",
            EMULATOR,
            "--fake",
            "--config",
            str(config),
            "-i",
            "127.0.0.1",
            "-p",
            str(port),
        ]
        process = Process("emulator", folder, command)
        stack.callback(process.kill)
        process.start()
        base = f"http://127.0.0.1:{port}/redfish/v1/"
        process.wait_for(lambda: _opens(base), 90, "answering")
        self.power = RedfishPower({}.__getitem__, timeout=5)
        self.bmc = PowerAddress("redfish", f"{base}Systems/{UUID}")
        self.gone = PowerAddress("redfish", f"http://127.0.0.1:{free_port()}/redfish/v1/Systems/n1")


class Quiet(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments: object) -> None:
        return


def serve(server: ThreadingHTTPServer, stack: ExitStack) -> ThreadingHTTPServer:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    stack.callback(thread.join, 5)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return server


def _opens(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, None, 2):  # noqa: S310
            return True
    except OSError:
        return False


def wait_until(what: Callable[[], bool], seconds: float) -> None:
    last = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < last, "it didn't come to pass in time"
        time.sleep(0.1)
