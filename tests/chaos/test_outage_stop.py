"""How bmid stops, and what it refuses: it drains, leaves the rest to the next start, and never runs twice."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bmi_publish import State
from bmid.handlers.import_image import ImportImage
from bmid.handlers.map_node import MapNode
from lab.bmid import Bmid
from tests.support.bmid import Builder, House, new_token
from tests.support.traffic import require_told, require_world

NODES = 24


def stop(house: House) -> float:
    """SIGTERM, and the seconds until it has gone."""
    process = house.bmid.process
    began = time.monotonic()
    process.signal(15)
    house.until(lambda: not process.alive(), 40)
    return time.monotonic() - began


def stopped(house: House) -> bool:
    """Whether it has said at its end that it stopped; what else ends after that may have something to say, too."""
    told = [line["event"] for line in house.bmid.told()]
    return "daemon.stopped" in told[told.index("daemon.stopping") :]


@pytest.mark.parametrize("on_ceph", [False, True], ids=["folder-sqlite", "ceph-postgresql"])
def test_a_stop_in_the_middle_ends_in_order_and_the_next_start_does_the_rest(builder: Builder, on_ceph: bool) -> None:
    house = builder.house(ceph=on_ceph, postgresql=on_ceph)
    project = house.project()
    image, nodes = house.image(project), [house.node() for _ in range(NODES)]
    client = house.client()
    tickets = [client.ticket(MapNode(project=project, node=node, image=image)) for node in nodes]
    for ticket in tickets:
        client.publish(ticket)
    assert stop(house) < 38  # 30 s to drain, and its end
    assert stopped(house)
    house.bmid.process.start()
    results = client.wait_all(tickets, 90)
    assert [result.state.value for result in results] == ["done"] * NODES
    assert len({disk.number for disk in house.disks()}) == NODES
    require_told(house, tickets)
    require_world([house])


def test_a_stop_while_nothing_runs_takes_no_time(builder: Builder) -> None:
    house = builder.house(ceph=False, postgresql=False)
    house.project()
    assert stop(house) < 15
    assert stopped(house)


def test_an_upload_that_is_awaited_is_still_awaited_after_a_restart(builder: Builder) -> None:
    house = builder.house(ceph=False, postgresql=False)
    project = house.project()
    token, sha256 = new_token()
    command = ImportImage(project=project, image="i", source={"upload": sha256})

    def restart(_address: str) -> None:
        house.bmid.stop()
        house.start()

    result = house.upload(command, token, b"\0" * 4096, restart)
    assert result.state is State.DONE, result.problem
    require_world([house])


def run_another(bmid: Bmid) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "bmid", "--config", bmid.config, "run"]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def test_a_second_bmid_on_the_same_state_is_refused_and_the_first_goes_on(house: House) -> None:
    done = run_another(house.bmid)
    assert done.returncode == 78
    assert "another bmid runs" in done.stderr
    assert "Stop it" in done.stderr
    assert house.project()


def test_a_second_head_on_a_storage_for_one_is_refused(builder: Builder) -> None:
    house = builder.house(ceph=False, postgresql=True)
    other = Bmid(house.folder / "other", replace(house.parts), name="head-b")
    other.configure()
    done = run_another(other)
    assert done.returncode == 78
    assert "head head-a is alive, and this database or storage serves one head only" in done.stderr
    assert house.project()
