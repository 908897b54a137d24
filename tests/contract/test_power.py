"""What every power driver promises, on the memory twin, on the lab's Redfish service and on sushy-tools' emulator."""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

import pytest

from bmid.drivers.base import Power, PowerAction, PowerState
from bmid.drivers.power.memory import MemoryPower
from bmid.drivers.power.redfish import RedfishPower
from bmid.errors import BmiError, PermanentError, TransientError
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
    patience = 1.0

    def __init__(self) -> None:
        self.power = MemoryPower()
        self.bmc = PowerAddress("memory", "bmc-n1")
        self.gone = PowerAddress("memory", "bmc-gone")
        self.power.switch("bmc-gone").dead = True


class LabPeer:
    """The lab's service, in this process, over real HTTP."""

    patience = 1.0

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
        self.server = _serve(Server(self.port, self._service), self._stack)

    def at(self, system: str, credential: str | None = "lab") -> PowerAddress:
        url = f"http://127.0.0.1:{self.port}/redfish/v1/Systems/{system}"
        return PowerAddress("redfish", url, credential)

    def fault(self, **faults: object) -> None:
        self._lab("/lab/faults/n1", json.dumps(faults).encode())

    def most_at_once(self) -> int:
        most: int = json.loads(self._lab("/lab/load"))["most_at_once"]
        return most

    def _lab(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", body, 5) as answer:
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
        process.wait_for(lambda: _opens(base), 20, "answering")
        self.power = RedfishPower({}.__getitem__, timeout=5)
        self.bmc = PowerAddress("redfish", f"{base}Systems/{UUID}")
        self.gone = PowerAddress("redfish", f"http://127.0.0.1:{free_port()}/redfish/v1/Systems/n1")


class _Quiet(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments: object) -> None:
        return


def _serve(server: ThreadingHTTPServer, stack: ExitStack) -> ThreadingHTTPServer:
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


@pytest.fixture(params=["memory", "lab", "emulator"])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peer]:
    with ExitStack() as stack:
        if request.param == "memory":
            yield MemoryPeer()
        elif request.param == "lab":
            yield LabPeer(stack)
        else:
            yield EmulatorPeer(tmp_path, stack)


@pytest.fixture
def lab() -> Iterator[LabPeer]:
    with ExitStack() as stack:
        yield LabPeer(stack)


def wait_until(what: Callable[[], bool], seconds: float) -> None:
    last = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < last, "it didn't come to pass in time"
        time.sleep(0.1)


def test_check_says_what_it_is(peer: Peer) -> None:
    assert peer.power.check(peer.bmc)


def test_a_machine_goes_on_and_off_and_says_so(peer: Peer) -> None:
    assert peer.power.state(peer.bmc) is PowerState.OFF
    peer.power.request(peer.bmc, PowerAction.ON)
    wait_until(lambda: peer.power.state(peer.bmc) is PowerState.ON, peer.patience)
    peer.power.request(peer.bmc, PowerAction.ON)
    assert peer.power.state(peer.bmc) is PowerState.ON
    peer.power.request(peer.bmc, PowerAction.OFF)
    wait_until(lambda: peer.power.state(peer.bmc) is PowerState.OFF, peer.patience)
    peer.power.request(peer.bmc, PowerAction.OFF)
    assert peer.power.state(peer.bmc) is PowerState.OFF


def test_a_cycle_ends_with_the_machine_on_wherever_it_began(peer: Peer) -> None:
    peer.power.request(peer.bmc, PowerAction.CYCLE)
    wait_until(lambda: peer.power.state(peer.bmc) is PowerState.ON, peer.patience)
    peer.power.request(peer.bmc, PowerAction.CYCLE)
    wait_until(lambda: peer.power.state(peer.bmc) is PowerState.ON, peer.patience)


def test_the_boot_device_can_be_set_on_and_off(peer: Peer) -> None:
    peer.power.boot_from_network_once(peer.bmc)
    peer.power.request(peer.bmc, PowerAction.ON)
    wait_until(lambda: peer.power.state(peer.bmc) is PowerState.ON, peer.patience)
    peer.power.boot_from_network_once(peer.bmc)


def test_a_bmc_out_of_reach_is_an_error_that_may_pass(peer: Peer) -> None:
    calls: list[Callable[[], object]] = [
        lambda: peer.power.check(peer.gone),
        lambda: peer.power.state(peer.gone),
        lambda: peer.power.request(peer.gone, PowerAction.OFF),
        lambda: peer.power.boot_from_network_once(peer.gone),
    ]
    began = time.monotonic()
    for call in calls:
        with pytest.raises(TransientError) as error:
            call()
        assert error.value.problem.slug == "bmc-down"
    assert time.monotonic() - began < 2  # a refused connection needs no waiting, and none is tried again


def test_a_cycle_restarts_a_machine_that_is_on(lab: LabPeer) -> None:
    lab.power.request(lab.bmc, PowerAction.CYCLE)
    assert (lab.node.alive, lab.node.starts) == (True, 1)
    lab.power.request(lab.bmc, PowerAction.CYCLE)
    assert (lab.node.alive, lab.node.starts) == (True, 2)


def test_the_network_is_booted_once(lab: LabPeer) -> None:
    lab.power.boot_from_network_once(lab.bmc)
    assert lab.node.boot_once == "pxe"


def test_a_request_that_is_taken_and_never_done_shows_in_the_state() -> None:
    memory = MemoryPeer()
    memory.power.switch("bmc-n1").lies = True
    memory.power.request(memory.bmc, PowerAction.ON)
    assert memory.power.state(memory.bmc) is PowerState.OFF
    with ExitStack() as stack:
        lab = LabPeer(stack)
        lab.fault(accept_for_ever=True)
        lab.power.request(lab.bmc, PowerAction.ON)
        assert lab.power.state(lab.bmc) is PowerState.OFF


def test_a_boot_device_that_was_not_kept_is_noticed(lab: LabPeer) -> None:
    lab.fault(lie=True)
    with pytest.raises(TransientError) as error:
        lab.power.boot_from_network_once(lab.bmc)
    assert error.value.problem.slug == "bmc-boot-device"


def test_a_bmc_that_hangs_costs_no_more_than_the_timeout() -> None:
    with ExitStack() as stack:
        lab = LabPeer(stack, timeout=1)
        assert lab.power.state(lab.bmc) is PowerState.OFF
        lab.fault(hang=4)
        for call in (lab.power.state, lab.power.boot_from_network_once, lab.power.check):
            began = time.monotonic()
            with pytest.raises(TransientError) as error:
                call(lab.bmc)
            assert error.value.problem.slug == "bmc-down"
            assert time.monotonic() - began < 1.5


def test_a_bmc_gets_few_requests_at_once_and_those_who_wait_too_long_are_told() -> None:
    with ExitStack() as stack:
        lab = LabPeer(stack, timeout=2)
        lab.power.check(lab.bmc)
        lab.fault(hang=0.8)
        outcomes: list[str] = []

        def ask() -> None:
            try:
                outcomes.append(lab.power.state(lab.bmc))
            except TransientError as error:
                outcomes.append(error.problem.slug)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert lab.most_at_once() <= 2
        assert (outcomes.count("off"), outcomes.count("bmc-busy")) == (6, 2)


def test_a_bmc_that_refuses_may_be_asked_again(lab: LabPeer) -> None:
    lab.fault(refuse=True)
    with pytest.raises(TransientError) as error:
        lab.power.request(lab.bmc, PowerAction.ON)
    assert error.value.problem.slug == "bmc-busy"
    lab.fault()
    lab.power.request(lab.bmc, PowerAction.ON)
    assert lab.node.alive


def test_a_wrong_log_in_is_an_error_for_good_and_is_never_shown(lab: LabPeer) -> None:
    with pytest.raises(PermanentError) as error:
        lab.power.state(lab.at("n1", "wrong"))
    assert error.value.problem.slug == "bmc-access"
    assert "horse" not in f"{error.value.problem} {error.value!r}"
    with pytest.raises(TransientError) as missing:
        lab.power.state(lab.at("n1", "nobody"))
    assert missing.value.problem.slug == "credential-missing"


def test_a_log_in_that_was_changed_is_used_at_once_after_a_refusal(lab: LabPeer) -> None:
    with pytest.raises(PermanentError):
        lab.power.state(lab.at("n1", "wrong"))
    lab.credentials["wrong"] = lab.credentials["lab"]
    assert lab.power.state(lab.at("n1", "wrong")) is PowerState.OFF


def test_a_system_that_does_not_exist_is_an_error_for_good(lab: LabPeer) -> None:
    with pytest.raises(PermanentError) as error:
        lab.power.state(lab.at("n9"))
    assert error.value.problem.slug == "bmc-no-system"


def test_a_bmc_that_comes_back_is_reached_again(lab: LabPeer) -> None:
    assert lab.power.state(lab.bmc) is PowerState.OFF
    lab.server.shutdown()
    lab.server.server_close()
    with pytest.raises(TransientError):
        lab.power.state(lab.bmc)
    lab.start()
    assert lab.power.state(lab.bmc) is PowerState.OFF


@pytest.mark.parametrize(
    "address",
    [
        "bmc",
        "ftp://bmc/redfish/v1/Systems/1",
        "https://admin:correct-horse@bmc/redfish/v1/Systems/1",
        "https:///redfish/v1/Systems/1",
        "https://bmc/",
        "https://bmc:x/redfish/v1/Systems/1",
        "https://[bmc/redfish/v1/Systems/1",
    ],
)
def test_an_address_that_is_no_url_of_a_system_is_refused_and_not_shown(lab: LabPeer, address: str) -> None:
    with pytest.raises(PermanentError) as error:
        lab.power.state(PowerAddress("redfish", address))
    assert error.value.problem.slug == "bmc-address"
    assert "horse" not in str(error.value.problem)


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"{}", b'{"Systems": 3}', b"\xff\xfe", b"null", b"[" * 9999])
def test_an_answer_that_is_not_redfish_is_an_error_of_ours(body: bytes) -> None:
    with ExitStack() as stack:
        handler = type("Handler", (_Quiet,), {"body": body})
        server = _serve(ThreadingHTTPServer(("127.0.0.1", 0), handler), stack)
        url = f"http://127.0.0.1:{server.server_address[1]}/redfish/v1/Systems/1"
        power = RedfishPower({}.__getitem__, timeout=2)
        for call in (power.check, power.state, power.boot_from_network_once):
            with pytest.raises(BmiError):
                call(PowerAddress("redfish", url))
