"""A flood of commands: the line stays quick, each key's commands stay in order, questions are answered meanwhile."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from bmid.amqp.consumer import Consumer
from bmid.engine.answerer import Answerer
from bmid.errors import TransientError
from bmid.model.operation import Operation, Phase
from bmid.store import operations
from bmid.store.database import Database
from bmid.store.rows import columns
from bmid.store.schema import operation, operation_key, outbox
from lab.rabbitmq import RabbitMQ
from tests.support.bench import Bench
from tests.support.bus import broker_of, channel_of, depth, forget_everything, send
from tests.support.database import quick
from tests.support.fuzz import MIB, Flat, seeded

WAITING = 4000
QUICK = 5.0  # seconds, on a busy machine; it takes milliseconds, and PostgreSQL once took more than 15


def line_up(database: Database, first: int, count: int, node: str | None) -> None:
    """So many operations in the line, all for one node, or each for another one."""
    with database.write() as tx:
        rows, keys = [], []
        for seq in range(first, first + count):
            one = Operation(
                id=f"op{seq:06d}", seq=seq, type="t", command={}, user="u", source="s", message=f"m{seq}",
                correlation="c", phase=Phase.PENDING, accepted_at=tx.now, due_at=tx.now,
            )  # fmt: skip
            rows.append(columns(one) | {"seq": seq})
            wanted = (("project:p1", False), ("image:p1/debian", False), (f"node:{node or seq}", True))
            keys += [{"operation": one.id, "key": k, "exclusive": x, "seq": seq, "started": False} for k, x in wanted]
        tx.execute(insert(operation), rows)
        tx.execute(insert(operation_key), keys)


def take(database: Database) -> tuple[str | None, float]:
    """Whose turn it is, and how long it took to find that out."""
    with database.write() as tx:
        assert tx.now is not None  # it is asked for once, and not what is measured
        began = time.monotonic()
        taken = operations.take(tx, "h1", "h1/i1", 30.0)
        took = time.monotonic() - began
        if taken is not None:
            operations.start(tx, taken[0].id, {}, "h1")
    return (taken[0].id if taken else None), took


def test_whose_turn_it_is_is_found_quickly_in_a_long_line(database: Database) -> None:
    """4,000 for as many nodes, all of which share a project and an image: one after the other."""
    quick(database)
    line_up(database, 1, WAITING, None)
    for number in range(1, 6):
        found, took = take(database)
        assert found == f"op{number:06d}"
        assert took < QUICK


def test_those_behind_a_busy_node_hold_up_nobody(database: Database) -> None:
    """4,000 for one node, one of which runs, and another one for another node."""
    quick(database)
    line_up(database, 1, WAITING, "n1")
    line_up(database, WAITING + 1, 1, "n2")
    assert take(database)[0] == "op000001"
    found, took = take(database)
    assert (found, took < QUICK) == (f"op{WAITING + 1:06d}", True)
    found, took = take(database)
    assert (found, took < QUICK) == (None, True)


@pytest.fixture
def bench(url: str, tmp_path: Path) -> Iterator[Bench]:
    """A site with nothing in it."""
    site = Bench(tmp_path, url=url).open()
    quick(site.database)
    yield site
    site.close()


class Threads:
    """A consumer and four workers, each with a thread, as in the daemon."""

    def __init__(self, bench: Bench, consumer: Consumer) -> None:
        self.faults: list[str] = []
        self._stop = threading.Event()
        self._consumer = consumer
        workers = [bench.worker() for _ in range(4)]
        turns = [lambda: consumer.run_once(0.05) > 0, *(lambda one=one: not one.run_once() for one in workers)]
        self._threads = [threading.Thread(target=self._run, args=(turn,)) for turn in turns]

    def _run(self, idle: object) -> None:
        while not self._stop.is_set():
            try:
                if idle():  # type: ignore[operator]
                    self._stop.wait(0.02)
            except TransientError as error:
                self.faults.append(str(error))
                self._stop.wait(0.05)
            except Exception as error:
                self.faults.append(f"unexpected {error!r}")
                return

    def __enter__(self) -> Threads:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)


def ended(bench: Bench) -> int:
    """How many operations have."""
    with bench.database.read() as tx:
        return int(tx.execute(select(func.count()).where(operation.c.ended_at.is_not(None))).scalar_one())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
@pytest.mark.usefixtures("quiet")
def test_a_flood_of_commands_is_carried_out_in_order_while_questions_are_answered(
    rabbitmq: RabbitMQ, bench: Bench, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Projects are made and removed in turns, all commands at once: each finds what the one before has left."""
    forget_everything(rabbitmq)
    chance, flat = seeded(count), Flat()
    consumer = Consumer(broker_of(rabbitmq), "head-a", bench.acceptance)
    consumer.run_once(0.05)
    names = [f"p{number}" for number in range(40)]
    sent = dict.fromkeys(names, 0)
    with channel_of(rabbitmq) as channel:
        for _ in range(count):
            name = chance.choice(names)
            kind = "remove" if sent[name] % 2 else "create"
            letter = bench.letter(f"bmi.project.{kind}.v1", {"project": name})
            send(channel, letter.body, headers=dict(letter.headers))
            sent[name] += 1
    answerer = Answerer(bench.database, bench.registry, bench.identity)
    flat.begin()
    began, longest = time.monotonic(), 0.0
    with Threads(bench, consumer) as threads:
        while ended(bench) < count and not any("unexpected" in one for one in threads.faults):
            assert time.monotonic() - began < 0.2 * count + 120
            bench.clock.advance(0.05)
            for kind, data in (("operation.list", {"limit": 50}), ("project.list", {})):
                asked = time.monotonic()
                with suppress(TransientError):
                    answerer.answer(bench.letter(f"bmi.{kind}.v1", data))
                longest = max(longest, time.monotonic() - asked)
            time.sleep(0.1)
        took, grown = time.monotonic() - began, flat.grown()
    consumer.close()
    with bench.database.read() as tx:
        ends = tx.execute(select(operation.c.phase, func.count()).group_by(operation.c.phase)).all()
        rows = tx.execute(select(outbox.c.type, outbox.c.envelope).order_by(outbox.c.id)).all()
    finals = [row.envelope["data"] for row in rows if row.type in ("bmi.project.created.v1", "bmi.project.removed.v1")]
    assert [tuple(one) for one in ends] == [("succeeded", count)]
    assert len({one["operation"] for one in finals}) == len(finals) == count
    assert all(one["changed"] for one in finals), "a command was carried out before one that came before it"
    with channel_of(rabbitmq) as channel:
        assert depth(channel, "bmi.commands") == depth(channel, "bmi.dead") == 0
    assert longest < QUICK, f"a question took {longest:.2f} s"
    assert grown < 24 * MIB + count * 2000, f"{grown / MIB:.0f} MiB more"
    assert not [one for one in threads.faults if "unexpected" in one]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{count} commands in {took:.1f} s, longest answer {longest * 1000:.0f} ms, {grown / MIB:.1f} MiB more, "
            f"{len(threads.faults)} transactions tried again\n"
        )
