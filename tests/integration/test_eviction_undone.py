"""What a head that stood still has left of a disk that another one has taken back goes when it wakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmid.drivers.base import Backing, Export
from bmid.drivers.target.memory import MemoryTarget
from bmid.model.operation import Phase
from tests.support.succession import Twins

pytestmark = pytest.mark.usefixtures("quiet")


def _stand(twins: Twins, number: int, disk: str) -> None:
    backing = Backing("rdwr", f"memory:{disk}")
    export = Export(number, f"{twins.a.site.iqn_prefix}:{disk}", backing, "10.77.0.99", disk, "secretsecret")
    MemoryTarget.create(twins.a.target, "0", export)


def test_a_target_of_a_disk_that_was_never_to_be_goes(tmp_path: Path, blank: Path) -> None:
    """The operation of its id has failed. One that nothing knows stays, until it is clear whose it is."""
    twins = Twins(tmp_path, blank)
    try:
        one = twins.a.command("node.map", project="p1", node="absent", image="absent")
        twins.a.settle(twins.a.worker(twins.a.identity))
        assert twins.a.find(one.id).phase is Phase.FAILED
        _stand(twins, 901, one.id)
        _stand(twins, 902, "01a1fd2e448c7d64b59910cce0a17638")
        assert twins.eviction(twins.a).run_once() == 1
        assert [export.number for export in twins.a.target.exports("0")] == [902]
    finally:
        twins.close()
