"""What the redfish driver promises beyond its port: BMCs that lie, hang, refuse, forget or talk nonsense."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import ThreadingHTTPServer

import pytest

from bmid.drivers.base import PowerAction, PowerState
from bmid.drivers.power.redfish import RedfishPower
from bmid.errors import BmiError, PermanentError, TransientError
from bmid.model.entity import PowerAddress
from tests.support.power_peer import LabPeer, MemoryPeer, Quiet, serve


@pytest.fixture
def lab() -> Iterator[LabPeer]:
    with ExitStack() as stack:
        yield LabPeer(stack)


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
            assert time.monotonic() - began < 3.5, "it hangs for 4 s"


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
            thread.join(30)
        assert lab.most_at_once() <= 2
        # Two at a time for 0.8 s each: the last two have no turn within 2 s, nor more of them on a slow machine.
        assert set(outcomes) == {"off", "bmc-busy"}
        assert len(outcomes) == 8
        assert 2 <= outcomes.count("bmc-busy") <= 6


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
        handler = type("Handler", (Quiet,), {"body": body})
        server = serve(ThreadingHTTPServer(("127.0.0.1", 0), handler), stack)
        url = f"http://127.0.0.1:{server.server_address[1]}/redfish/v1/Systems/1"
        power = RedfishPower({}.__getitem__, timeout=2)
        for call in (power.check, power.state, power.boot_from_network_once):
            with pytest.raises(BmiError):
                call(PowerAddress("redfish", url))
