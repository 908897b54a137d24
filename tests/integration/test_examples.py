"""The examples of other services: killed together with bmid at any moment, they get one effect and the outcome."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import pytest
from sqlalchemy import select

from bmid.store import schema
from lab.process import Process
from lab.rabbitmq import RabbitMQ
from tests.support.bmid import House, building
from tests.support.node import node as nodejs

EXAMPLES = Path(__file__).parents[2] / "examples"
MAPPED, FAILED, REJECTED = "bmi.node.mapped.v1", "bmi.operation.failed.v1", "bmi.command.rejected.v1"
ACCEPTED = "bmi.operation.accepted.v1"


@pytest.fixture(scope="module")
def own_house(
    rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[House]:
    """A bmid that these tests may kill."""
    with building(tmp_path_factory.mktemp("examples"), request) as made:
        yield made.house(ceph=False, postgresql=False)


@dataclass
class Example:
    """One of the programs, started for one job; may be killed and started again."""

    house: House
    words: list[str]
    folder: Path
    node: str
    starts: int = 0

    @property
    def process(self) -> Process:
        return Process(f"service-{self.starts}", self.folder, self.words, env={"BMI_URL": self.house.url("alice")})

    def start(self) -> None:
        self.starts += 1
        self._running = self.process
        self._running.start()

    def kill(self) -> None:
        self._running.kill()

    def told(self) -> list[dict[str, Any]]:
        """The events that it has printed since its last start."""
        log = self.folder / f"service-{self.starts}.log"
        lines = log.read_text().rpartition("\n")[0].splitlines() if log.exists() else []  # as far as they are whole
        return [json.loads(line) for line in lines if line.startswith("{")]

    def until(self, kind: str) -> dict[str, Any]:
        """Wait until it prints such an event."""
        self._running.wait_for(lambda: any(one["type"] == kind for one in self.told()), 60, kind)
        return next(one for one in self.told() if one["type"] == kind)

    def until_gone(self) -> None:
        """Wait until it has ended by itself."""
        self.house.until(lambda: not self._running.alive())


@pytest.fixture(params=["node", "python"])
def example(request: pytest.FixtureRequest, own_house: House, tmp_path: Path) -> Iterator[Example]:
    """The program of each language, about to map a node of its own."""
    house = own_house
    program = {
        "node": [nodejs(), str(EXAMPLES / "node/map-node.js")],
        "python": [sys.executable, "-I", str(EXAMPLES / "python/map_node.py")],
    }[request.param]
    project = house.project()
    node = house.node()
    words = [*program, str(tmp_path / "job"), project, node, house.image(project)]
    made = Example(house, words, tmp_path, node)
    yield made
    made.kill()
    house.tgtd.thaw()
    if not house.bmid.process.alive():
        house.start()


def require_one_of_each(example: Example, outcome: dict[str, Any]) -> None:
    """One operation, one disk with one target, and one outcome told once."""
    house = example.house
    operation = schema.METADATA.tables["operation"]
    wanted = (operation.c.type == "bmi.node.map.v1") & (operation.c.source.like("/example/%"))
    with house.database.read() as tx:
        found = tx.execute(select(operation.c.id, operation.c.message, operation.c.command).where(wanted)).all()
    message = json.loads((example.folder / "job").read_text())["id"]
    ours = [(one.id, one.message) for one in found if one.command["node"] == example.node]
    assert ours == [(outcome["operation"], message)]
    [disk] = [one for one in house.disks() if one.node == example.node]
    assert disk.name == outcome["disk"]
    assert [one.number for one in house.ports.target.exports("s0")].count(disk.number) == 1
    assert [one.id for one in house.ports.storage.inventory(metadata=False)].count(disk.id) == 1
    example.until_gone()
    assert [one["type"] for one in example.told()].count(MAPPED) == 1


def test_nothing_of_ours_is_in_the_examples() -> None:
    """They are what a stranger would write."""
    for file in (*EXAMPLES.glob("*/*.js"), *EXAMPLES.glob("*/*.py")):
        assert re.findall(r"^\s*(?:import|from) .*bmi.*$", file.read_text(), re.MULTILINE) == [], file


def test_undisturbed_it_maps_the_node(example: Example) -> None:
    example.start()
    require_one_of_each(example, example.until(MAPPED))


def test_both_killed_before_the_command_is_accepted(example: Example) -> None:
    """Both copies of the message lie in the queue when bmid comes back."""
    example.house.bmid.kill()
    for copies in (1, 2):
        example.start()
        example.house.until(lambda: waiting(example.house) == copies)  # noqa: B023 - called at once
        example.kill()
    example.start()
    example.house.start()
    require_one_of_each(example, example.until(MAPPED))


def test_both_killed_while_it_is_carried_out(example: Example) -> None:
    """The target daemon stands still, so that both die in the middle of the map."""
    house = example.house
    house.tgtd.freeze()
    example.start()
    operation = example.until(ACCEPTED)["operation"]
    house.until(lambda: any(one.node == example.node for one in house.disks()))
    house.bmid.kill()
    example.kill()
    house.tgtd.thaw()
    example.start()
    house.start()
    outcome = example.until(MAPPED)
    assert outcome["operation"] == operation
    require_one_of_each(example, outcome)


def test_the_outcome_of_a_dead_service_is_told_when_it_is_back(example: Example) -> None:
    """It was killed before the end, bmid after it."""
    house = example.house
    house.tgtd.freeze()
    example.start()
    example.until(ACCEPTED)
    example.kill()
    house.tgtd.thaw()
    house.until(lambda: any(one.node == example.node and one.state == "mapped" for one in house.disks()))
    house.bmid.kill()
    house.start()
    example.start()
    require_one_of_each(example, example.until(MAPPED))


def test_a_no_is_told_and_ends_it(example: Example) -> None:
    """Refused: there is no such image. Rejected: that is no name."""
    image = example.words[-1]
    example.words[-1] = "nothing-of-that-name"
    example.start()
    assert example.until(FAILED)["refused"] is True
    example.until_gone()
    (example.folder / "job").unlink()
    example.words[-1] = f"{image} or so"
    example.start()
    assert example.until(REJECTED)["reasons"]
    example.until_gone()


def waiting(house: House) -> int:
    """How many messages lie in the queue of commands."""
    connection = pika.BlockingConnection(pika.URLParameters(house.url("bob")))
    count = connection.channel().queue_declare("bmi.commands", passive=True).method.message_count
    connection.close()
    return int(count)
