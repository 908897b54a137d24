"""What every power driver promises, on the memory twin, on the lab's Redfish service and on sushy-tools' emulator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bmid.drivers.base import PowerAction, PowerState
from bmid.errors import TransientError
from tests.support.power_peer import EmulatorPeer, LabPeer, MemoryPeer, Peer, wait_until


@pytest.fixture(params=["memory", "lab", "emulator"])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peer]:
    with ExitStack() as stack:
        if request.param == "memory":
            yield MemoryPeer()
        elif request.param == "lab":
            yield LabPeer(stack)
        else:
            yield EmulatorPeer(tmp_path, stack)


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
    assert time.monotonic() - began < 6  # a refused connection needs no waiting, and none is tried again
