"""The lab's Redfish service, driven by the real sushy over HTTP, with fake nodes behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import requests
import sushy

from lab.bmc import Node, Service
from lab.node import BootDevice
from lab.redfish import Server


@dataclass
class FakeNode:
    """A node that is only a switch."""

    alive: bool = False
    boot_once: BootDevice | None = None
    resets: int = 0
    presses: int = 0

    def power_on(self) -> None:
        self.alive = True

    def power_off(self) -> None:
        self.alive = False

    def reset(self) -> None:
        self.alive = True
        self.resets += 1

    def press_button(self) -> None:
        self.presses += 1


@dataclass
class Site:
    """A running service with two nodes."""

    nodes: dict[str, FakeNode] = field(default_factory=lambda: {"n1": FakeNode(), "n2": FakeNode()})
    url: str = ""

    def names(self) -> list[str]:
        return sorted(self.nodes)

    def find(self, name: str) -> Node | None:
        return self.nodes.get(name)

    def root(self, user: str = "lab") -> sushy.Sushy:
        auth = sushy.auth.BasicAuth(user, "secret")
        return sushy.Sushy(f"{self.url}/redfish/v1/", auth=auth, verify=False, server_side_retries=0)

    def system(self, name: str) -> sushy.resources.system.system.System:
        return self.root().get_system(f"/redfish/v1/Systems/{name}")

    def faults(self, name: str, **faults: float) -> None:
        requests.post(f"{self.url}/lab/faults/{name}", json=faults, timeout=30).raise_for_status()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    server = Server(0, Service(site.names, site.find, "lab:secret"))
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def test_each_node_is_a_system(site: Site) -> None:
    members = site.root().get_system_collection().get_members()
    assert [member.name for member in members] == ["n1", "n2"]


def test_power_follows_reset_and_is_read_back(site: Site) -> None:
    system = site.system("n1")
    assert system.power_state == sushy.PowerState.OFF
    system.reset_system(sushy.ResetType.ON)
    system.refresh(force=True)
    assert (system.power_state, site.nodes["n1"].alive) == (sushy.PowerState.ON, True)
    system.reset_system(sushy.ResetType.FORCE_RESTART)
    system.reset_system(sushy.ResetType.GRACEFUL_SHUTDOWN)
    assert (site.nodes["n1"].resets, site.nodes["n1"].presses) == (1, 1)
    system.reset_system(sushy.ResetType.FORCE_OFF)
    system.refresh(force=True)
    assert (system.power_state, site.nodes["n1"].alive) == (sushy.PowerState.OFF, False)
    assert not site.nodes["n2"].alive


def test_boot_once_from_pxe_is_set_shown_and_taken_back(site: Site) -> None:
    system = site.system("n1")
    system.set_system_boot_options(sushy.BootSource.PXE, enabled=sushy.BootSourceOverrideEnabled.ONCE)
    system.refresh(force=True)
    assert site.nodes["n1"].boot_once == "pxe"
    assert system.boot.target == sushy.BootSource.PXE
    assert system.boot.enabled == sushy.BootSourceOverrideEnabled.ONCE
    system.set_system_boot_options(enabled=sushy.BootSourceOverrideEnabled.DISABLED)
    assert site.nodes["n1"].boot_once is None


def test_a_stale_etag_is_refused(site: Site) -> None:
    answer = requests.patch(
        f"{site.url}/redfish/v1/Systems/n1",
        json={"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}},
        headers={"If-Match": '"old"'},
        auth=("lab", "secret"),
        timeout=30,
    )
    assert (answer.status_code, site.nodes["n1"].boot_once) == (412, None)


def test_sessions_work_as_well_as_basic_authentication(site: Site) -> None:
    auth = sushy.auth.SessionAuth("lab", "secret")
    root = sushy.Sushy(f"{site.url}/redfish/v1/", auth=auth, verify=False)
    assert root.get_system("/redfish/v1/Systems/n1").power_state == sushy.PowerState.OFF
    auth.close()


def test_a_stranger_is_refused(site: Site) -> None:
    with pytest.raises(sushy.exceptions.AccessError):
        site.root("stranger").get_system("/redfish/v1/Systems/n1")


def test_a_missing_system_is_not_found(site: Site) -> None:
    with pytest.raises(sushy.exceptions.ResourceNotFoundError):
        site.system("n3")


def test_a_lying_system_says_on_and_stays_off_until_it_behaves_again(site: Site) -> None:
    site.faults("n1", lie=True)
    system = site.system("n1")
    system.reset_system(sushy.ResetType.ON)
    system.refresh(force=True)
    assert (system.power_state, site.nodes["n1"].alive) == (sushy.PowerState.ON, False)
    site.faults("n1")
    system.refresh(force=True)
    assert system.power_state == sushy.PowerState.OFF


def test_a_refusing_system_answers_with_an_error_and_its_neighbour_works(site: Site) -> None:
    site.faults("n1", refuse=True)
    with pytest.raises(sushy.exceptions.ServerSideError):
        site.system("n1").reset_system(sushy.ResetType.ON)
    site.system("n2").reset_system(sushy.ResetType.ON)
    assert (site.nodes["n1"].alive, site.nodes["n2"].alive) == (False, True)


def test_a_system_that_accepts_for_ever_answers_202_and_does_nothing(site: Site) -> None:
    site.faults("n1", accept_for_ever=True)
    path = f"{site.url}/redfish/v1/Systems/n1/Actions/ComputerSystem.Reset"
    answer = requests.post(path, json={"ResetType": "On"}, auth=("lab", "secret"), timeout=30)
    assert (answer.status_code, site.nodes["n1"].alive) == (202, False)


def test_a_hanging_system_holds_up_no_other(site: Site) -> None:
    site.faults("n1", hang=12)
    with pytest.raises(requests.Timeout):
        requests.get(f"{site.url}/redfish/v1/Systems/n1", auth=("lab", "secret"), timeout=0.3)
    begun = time.monotonic()
    site.system("n2")
    assert time.monotonic() - begun < 10


def test_an_unknown_fault_is_refused(site: Site) -> None:
    with pytest.raises(requests.HTTPError):
        site.faults("n1", explode=True)


def test_the_most_requests_at_once_are_counted(site: Site) -> None:
    site.faults("n1", hang=2)
    path = f"{site.url}/redfish/v1/Systems/n1"
    askers = [
        threading.Thread(target=requests.get, args=(path,), kwargs={"auth": ("lab", "secret"), "timeout": 60})
        for _ in range(3)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert requests.get(f"{site.url}/lab/load", timeout=30).json() == {"most_at_once": 3}
