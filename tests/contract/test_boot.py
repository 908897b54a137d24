"""What every boot driver promises, on the memory twin and on files that a real dnsmasq serves to real clients."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from bmid.drivers.base import Boot, BootEntry, Pointer
from bmid.drivers.boot.ipxe import IpxeBoot
from bmid.drivers.boot.memory import MemoryBoot
from bmid.drivers.boot.script import DARK
from bmid.errors import Misconfigured, PermanentError, TransientError
from bmid.model.entity import Firmware
from lab.dnsmasq import LOADERS, Dnsmasq
from lab.network import Network

SECRET = "ABCDEFGHIJKLMNOP"
MAC = "52:54:00:77:00:01"


class Peer(Protocol):
    """A boot driver, and what a node at an address is given."""

    boot: Boot

    def entry(self, number: int = 1, **changes: object) -> BootEntry: ...
    def script(self, address: str) -> str | None: ...


class MemoryPeer:
    def __init__(self) -> None:
        self.boot = MemoryBoot()

    def entry(self, number: int = 1, **changes: object) -> BootEntry:
        return _entry(number, f"10.77.0.{10 + number}", "10.77.0.1", changes)

    def script(self, address: str) -> str | None:
        entry = self.boot.entries.get(address)
        return f"set password {entry.secret}\nsanboot {entry.iqn}" if entry else DARK


class IpxePeer:
    """Files that the lab's dnsmasq serves, with clients in the namespace of the nodes."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.chmod(0o755)
        self.network = Network(folder)
        stack.callback(self.network.down)
        self.network.up()
        self.dnsmasq = Dnsmasq(folder, self.network)
        stack.callback(self.dnsmasq.stop)
        self.dnsmasq.start()
        self.boot = self.driver("own")

    def driver(self, dhcp: str) -> IpxeBoot:
        return IpxeBoot(
            self.dnsmasq.tftp,
            self.dnsmasq.hosts,
            {path.name: path for path in LOADERS},
            dnsmasq_pid=self.dnsmasq.pid_file,
            dhcp=dhcp,
            interface=self.network.addresses.interface,
        )

    def entry(self, number: int = 1, **changes: object) -> BootEntry:
        return _entry(number, self.network.node_ip(number), self.network.head_ip, changes)

    def appear(self, address: str) -> None:
        """A machine with this address is on the boot network."""
        self._inside("ip", "addr", "add", f"{address}/24", "dev", "br0")

    def vanish(self, address: str) -> None:
        self._inside("ip", "addr", "del", f"{address}/24", "dev", "br0")

    def script(self, address: str) -> str | None:
        data = self.fetch(address, "boot.ipxe")
        return None if data is None else data.decode()

    def fetch(self, address: str, name: str) -> bytes | None:
        self.appear(address)
        try:
            answer = self.client("tftp", self.network.head_ip, address, name)
        finally:
            self.vanish(address)
        return base64.b64decode(answer["data"]) if "data" in answer else None

    def offer(self, mac: str) -> dict[str, str]:
        return self.client("dhcp", "br0", mac)

    def client(self, *arguments: str) -> dict[str, str]:
        program = str(Path(__file__).with_name("netclient.py"))
        answer: dict[str, str] = json.loads(self._inside(sys.executable, program, *arguments))
        return answer

    def _inside(self, *command: str) -> str:
        full = ["ip", "netns", "exec", self.network.namespace, *command]
        return subprocess.run(full, capture_output=True, text=True, timeout=20, check=True).stdout


def _entry(number: int, address: str, portal: str, changes: dict[str, object]) -> BootEntry:
    entry = BootEntry(
        node=f"{number:032x}",
        disk=f"d{number}",
        generation=1,
        mac=f"52:54:00:77:00:{number:02x}",
        address=address,
        hostname=f"n{number}",
        firmware=Firmware.ANY,
        portal=(portal, 3260),
        iqn=f"iqn.2026-01.org.bmi:d{number}",
        initiator=f"iqn.2026-01.org.bmi:n{number}",
        user=f"d{number}.1",
        secret=SECRET,
    )
    return replace(entry, **changes)


@pytest.fixture(params=["memory", "ipxe"])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peer]:
    with ExitStack() as stack:
        yield MemoryPeer() if request.param == "memory" else IpxePeer(tmp_path, stack)


@pytest.fixture
def ipxe(tmp_path: Path) -> Iterator[IpxePeer]:
    with ExitStack() as stack:
        yield IpxePeer(tmp_path, stack)


def wait_until(what: Callable[[], bool], seconds: float = 5) -> None:
    last = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < last, "it didn't come to pass in time"
        time.sleep(0.05)


def test_check_says_what_it_is(peer: Peer) -> None:
    assert peer.boot.check()


def test_a_node_that_is_led_nowhere_gets_the_dark_script(peer: Peer) -> None:
    peer.boot.check()
    entry = peer.entry()
    assert peer.boot.pointer(entry.address) is None
    assert peer.boot.pointers() == ()
    assert peer.script(entry.address) == DARK


def test_a_pointed_node_gets_its_script_and_others_do_not(peer: Peer) -> None:
    entry, other = peer.entry(1), peer.entry(2)
    peer.boot.point(entry)
    script = peer.script(entry.address)
    assert script is not None
    assert entry.iqn in script
    assert SECRET in script
    assert peer.script(other.address) == DARK


def test_a_pointer_can_be_read_back(peer: Peer) -> None:
    entry, other = peer.entry(1, generation=7), peer.entry(2)
    peer.boot.point(entry)
    peer.boot.point(other)
    wanted = Pointer(entry.address, "d1", 7, entry.iqn, complete=True)
    assert peer.boot.pointer(entry.address) == wanted
    assert {pointer.address: pointer for pointer in peer.boot.pointers()} == {
        entry.address: wanted,
        other.address: Pointer(other.address, "d2", 1, other.iqn, complete=True),
    }


def test_pointing_again_changes_nothing_and_pointing_anew_replaces(peer: Peer) -> None:
    entry = peer.entry()
    peer.boot.point(entry)
    peer.boot.point(entry)
    newer = peer.entry(generation=2, secret="QQQQQQQQQQQQQQQQ")
    peer.boot.point(newer)
    script = peer.script(entry.address)
    assert script is not None
    assert SECRET not in script
    assert newer.secret in script
    assert len(peer.boot.pointers()) == 1


def test_a_cleared_node_gets_the_dark_script(peer: Peer) -> None:
    peer.boot.check()
    entry = peer.entry()
    peer.boot.point(entry)
    peer.boot.clear(entry.address, entry.disk)
    assert peer.boot.pointer(entry.address) is None
    assert peer.script(entry.address) == DARK
    peer.boot.clear(entry.address, entry.disk)


def test_clearing_leaves_a_pointer_to_another_disk_alone(peer: Peer) -> None:
    entry = peer.entry()
    peer.boot.point(entry)
    peer.boot.clear(entry.address, "d9")
    pointer = peer.boot.pointer(entry.address)
    assert pointer is not None
    assert pointer.complete


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": "AAAA\nsanboot iscsi:evil"},
        {"secret": "AAAA${net0/mac}"},
        {"user": "a b"},
        {"iqn": "iqn.2026-01.org.bmi:a||reboot"},
        {"initiator": "iqn.x:\n"},
        {"hostname": "n1,set:known"},
        {"mac": "52:54:00:77:00"},
        {"address": "../10.0.0.1"},
        {"address": "010.77.0.11"},
        {"portal": ("head", 3260)},
        {"portal": ("10.77.0.1", 0)},
        {"disk": "d1\n"},
        {"generation": -1},
    ],
)
def test_values_that_would_be_read_as_more_are_refused_and_no_secret_is_shown(
    peer: Peer, changes: dict[str, object]
) -> None:
    with pytest.raises(PermanentError) as error:
        peer.boot.point(peer.entry(**changes))
    assert error.value.problem.slug == "boot-value"
    assert "AAAA" not in str(error.value.problem)
    assert peer.boot.pointers() == ()


def test_an_address_that_is_none_is_refused(peer: Peer) -> None:
    for call in (peer.boot.pointer, peer.boot.answers, lambda text: peer.boot.clear(text, "d1")):
        with pytest.raises(PermanentError):
            call("../../etc")


def test_our_own_dhcp_needs_no_lines_of_anybody(peer: Peer) -> None:
    assert peer.boot.foreign_lines(peer.entry()) == ()


def test_dhcp_answers_a_pointed_node_and_nobody_else(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    assert ipxe.offer(MAC) == {"error": "no answer"}
    ipxe.boot.point(entry)
    wait_until(lambda: "address" in ipxe.offer(MAC))
    assert ipxe.offer(MAC) == {"address": entry.address, "hostname": "n1", "file": "boot.ipxe"}
    ipxe.boot.clear(entry.address, entry.disk)
    wait_until(lambda: "error" in ipxe.offer(MAC))


def test_an_address_that_goes_to_another_node_is_not_given_to_both(ipxe: IpxePeer) -> None:
    first, second = ipxe.entry(1), ipxe.entry(2, address=ipxe.network.node_ip(1))
    ipxe.boot.point(first)
    wait_until(lambda: "address" in ipxe.offer(first.mac))
    ipxe.boot.point(second)
    wait_until(lambda: ipxe.offer(second.mac).get("address") == second.address)
    assert "error" in ipxe.offer(first.mac)


def test_both_firmwares_get_their_loader(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    for path in LOADERS:
        assert ipxe.fetch(entry.address, path.name) == path.read_bytes()


def test_the_script_with_the_secret_is_not_for_all_the_world(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    folder = ipxe.dnsmasq.tftp / entry.address
    assert stat.S_IMODE((folder / "boot.ipxe").stat().st_mode) == 0o640
    assert SECRET not in (ipxe.dnsmasq.hosts / entry.address).read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["boot.ipxe", "ipxe.efi", "undionly.kpxe"]


def test_nothing_is_left_of_a_cleared_pointer(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    ipxe.boot.check()
    before = sorted(path.name for path in ipxe.dnsmasq.tftp.iterdir())
    ipxe.boot.point(entry)
    ipxe.boot.clear(entry.address, entry.disk)
    assert sorted(path.name for path in ipxe.dnsmasq.tftp.iterdir()) == before
    assert list(ipxe.dnsmasq.hosts.iterdir()) == []


@pytest.mark.parametrize("part", ["tftp/{}/ipxe.efi", "hosts/{}", "tftp/{}/boot.ipxe"])
def test_a_pointer_with_a_part_missing_is_incomplete_until_pointed_again(ipxe: IpxePeer, part: str) -> None:
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    (ipxe.dnsmasq.tftp.parent / part.format(entry.address)).unlink()
    pointer = ipxe.boot.pointer(entry.address)
    assert pointer is not None
    assert (pointer.disk, pointer.complete) == (entry.disk, False)
    ipxe.boot.point(entry)
    pointer = ipxe.boot.pointer(entry.address)
    assert pointer is not None
    assert pointer.complete


def test_a_half_removed_pointer_is_removed_by_clearing_again(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    (ipxe.dnsmasq.tftp / entry.address / "boot.ipxe").unlink()
    ipxe.boot.clear(entry.address, entry.disk)
    assert ipxe.boot.pointer(entry.address) is None
    assert not (ipxe.dnsmasq.tftp / entry.address).exists()
    assert list(ipxe.dnsmasq.hosts.iterdir()) == []


def test_a_killed_dnsmasq_is_said_and_pointers_are_written_all_the_same(ipxe: IpxePeer) -> None:
    ipxe.dnsmasq.stop()
    with pytest.raises(TransientError) as error:
        ipxe.boot.check()
    assert error.value.problem.slug == "boot-server-down"
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    ipxe.boot.clear(entry.address, entry.disk)


def test_no_other_process_is_signalled_under_an_old_pid(ipxe: IpxePeer) -> None:
    entry = ipxe.entry()
    ipxe.boot.point(entry)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        ipxe.dnsmasq.pid_file.write_text(f"{bystander.pid}\n")
        ipxe.boot.clear(entry.address, entry.disk)
        with pytest.raises(subprocess.TimeoutExpired):
            bystander.wait(0.3)
        bystander.kill()


def test_with_foreign_dhcp_no_host_entry_is_written_and_the_lines_are_told(ipxe: IpxePeer) -> None:
    boot = ipxe.driver("external")
    entry = ipxe.entry()
    boot.point(entry)
    assert list(ipxe.dnsmasq.hosts.iterdir()) == []
    assert f"dhcp-host={MAC},{entry.address},n1" in boot.foreign_lines(entry)
    pointer = boot.pointer(entry.address)
    assert pointer is not None
    assert pointer.complete
    boot.clear(entry.address, entry.disk)
    assert boot.pointers() == ()


def test_a_folder_that_cannot_be_written_is_an_error_that_may_pass(ipxe: IpxePeer) -> None:
    shutil.rmtree(ipxe.dnsmasq.tftp)
    ipxe.dnsmasq.tftp.write_text("in the way")
    for call in (ipxe.boot.check, lambda: ipxe.boot.point(ipxe.entry())):
        with pytest.raises(TransientError) as error:
            call()
        assert error.value.problem.slug == "boot-folder"


def test_a_way_of_dhcp_that_does_not_exist_is_refused(ipxe: IpxePeer) -> None:
    with pytest.raises(Misconfigured):
        ipxe.driver("none")


def test_an_address_answers_while_its_machine_is_there_and_is_silent_soon_after(ipxe: IpxePeer) -> None:
    address = ipxe.network.node_ip(1)
    ipxe.appear(address)
    wait_until(lambda: ipxe.boot.answers(address) is True)
    ipxe.vanish(address)
    began = time.monotonic()
    wait_until(lambda: ipxe.boot.answers(address) is False, 8)
    assert time.monotonic() - began >= 2.5
    ipxe.appear(address)
    wait_until(lambda: ipxe.boot.answers(address) is True)


def test_asking_whether_an_address_answers_takes_no_time(ipxe: IpxePeer) -> None:
    for number in (1, 2):
        began = time.monotonic()
        ipxe.boot.answers(ipxe.network.node_ip(number))
        assert time.monotonic() - began < 0.3  # 0.1 on a machine of our own
