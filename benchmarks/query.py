"""`script/bench query`: a page of a list from a large site, while nothing runs and while 24 maps do.

Each question is put beside its floor: the bare SQL of the same page, asked in turns with ours. Both kinds of database.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pika

from benchmarks.bench import PROJECT, Bench, Bus, median
from benchmarks.large_site import DISKS, NODES, fill
from bmid.handlers.list_disks import ListDisks
from bmid.handlers.list_images import ListImages
from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.list_operations import ListOperations
from bmid.handlers.map_node import MapNode
from bmid.handlers.page import ListQuery
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.envelope import CONTENT_TYPE, Envelope, encode
from bmid.parts import make_database
from bmid.settings_file import load
from bmid.store.database import Database
from lab.bmid import Parts
from lab.postgresql import PostgreSQL

__all__ = ["main"]

BATCH = 24
PAGE = 100  # rows; the statements beside it look for one more
PAUSE = 0.02  # seconds between questions
REPLIES = "amq.rabbitmq.reply-to"
WITH_DISK = "FROM node n LEFT JOIN disk d ON d.id = n.disk LEFT JOIN image i ON i.id = d.image"
NODE = "n.*, d.id, d.project, d.name, d.state, d.address, i.project, i.name"
# The questions, and the least SQL that answers them.
PAGES: Mapping[str, tuple[ListQuery, str]] = {
    "nodes": (ListNodes(limit=PAGE), f"SELECT {NODE} {WITH_DISK} ORDER BY n.name LIMIT 101"),
    "nodes of a project": (
        ListNodes(limit=PAGE, project="site-3"),
        f"SELECT {NODE} {WITH_DISK} WHERE d.project = 'site-3' ORDER BY n.name LIMIT 101",
    ),
    "nodes with a label": (
        ListNodes(limit=PAGE, labels={"rack": "r7"}),
        f"SELECT {NODE} {WITH_DISK} WHERE n.labels ->> 'rack' = 'r7' ORDER BY n.name LIMIT 101",
    ),
    "nodes, the newest": (
        ListNodes(limit=PAGE, order="-created_at"),
        f"SELECT {NODE} {WITH_DISK} ORDER BY n.created_at DESC LIMIT 101",
    ),
    "disks": (
        ListDisks(limit=PAGE),
        "SELECT d.*, i.project, i.name FROM disk d JOIN image i ON i.id = d.image ORDER BY d.name LIMIT 101",
    ),
    "images": (
        ListImages(limit=PAGE),
        "SELECT i.*, (SELECT count(*) FROM disk d WHERE d.image = i.id),"
        " (SELECT count(*) FROM image c WHERE c.parent = i.id) FROM image i ORDER BY i.name LIMIT 101",
    ),
    "operations": (ListOperations(limit=PAGE), "SELECT * FROM operation ORDER BY accepted_at DESC LIMIT 101"),
}


class Asker:
    """Asks over the broker by itself, and waits for the answer."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._user = url.partition("://")[2].partition(":")[0]
        self._channel = self._connection.channel()
        self._answers: list[bytes] = []
        self._channel.basic_consume(REPLIES, lambda *delivery: self._answers.append(delivery[3]), auto_ack=True)

    def ask(self, query: ListQuery) -> Any:
        """The answer's data."""
        envelope = Envelope(id=str(uuid.uuid4()), source="/bench", type=query.type, data=query.payload())
        headers, body = encode(envelope)
        properties = pika.BasicProperties(
            content_type=CONTENT_TYPE, headers=headers, user_id=self._user, correlation_id=envelope.id, reply_to=REPLIES
        )
        self._channel.basic_publish("bmi.queries", query.type, body, properties)
        while not self._answers:
            self._connection.process_data_events(10)
        return json.loads(self._answers.pop())["data"]

    def close(self) -> None:
        """Leave."""
        self._connection.close()


class LargeSite(Bench):
    """A bench with a large site in its database; PostgreSQL where a server is given."""

    def __init__(self, folder: Path, server: PostgreSQL | None) -> None:
        super().__init__(folder, BATCH)
        self._server = server

    def _parts(self) -> Parts:
        database = self._server.create_database(f"bench_{uuid.uuid4().hex[:8]}") if self._server else None
        return replace(super()._parts(), database=database)

    def _fill(self) -> None:
        super()._fill()
        fill(self.database(), BATCH)

    def database(self) -> Database:
        """The daemon's."""
        return make_database(load(self.bmid.config))


def main() -> None:
    """Measure, print, write .lab/bench-query.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".lab/bench-query"))
    parser.add_argument("--rounds", type=int, default=60, help="of each question, idle and busy")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--out", type=Path, default=Path(".lab/bench-query.json"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    figures: dict[str, Any] = {"nodes": NODES, "disks": DISKS, "load": [os.getloadavg()[0]]}
    for name in options.database or ("sqlite", "postgresql"):
        with _server(options.folder / "server", name) as server:
            site = LargeSite(options.folder / name, server)
            with site.running():
                figures[name] = measure(site, options.rounds)
    figures["load"].append(os.getloadavg()[0])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


@contextmanager
def _server(folder: Path, name: str) -> Iterator[PostgreSQL | None]:
    if name == "sqlite":
        yield None
        return
    server = PostgreSQL(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def measure(site: LargeSite, rounds: int) -> dict[str, Any]:
    """Milliseconds of each page, idle and while maps run, beside its floor; maps and unmaps a second meanwhile."""
    url, database = site.rabbitmq.url("alice"), site.database()
    asker, bus = Asker(url), Bus(url)
    try:
        _ask(asker, database, 5)
        idle = _ask(asker, database, rounds)
        with _maps(url, site.nodes) as ended:
            before, started = ended(), time.perf_counter()
            busy = _ask(asker, database, rounds)
            rate = (ended() - before) / (time.perf_counter() - started)
        broker = bus.round_trip()
    finally:
        asker.close()
        bus.close()
        database.close()
    pages = {name: {"idle": idle[name], "busy": busy[name]} for name in PAGES}
    return {"pages": pages, "commands_per_s": round(rate, 1), "broker_round_trip_ms": round(broker * 1000, 2)}


def _ask(asker: Asker, database: Database, rounds: int) -> dict[str, dict[str, float]]:
    ours: dict[str, list[float]] = {name: [] for name in PAGES}
    floor: dict[str, list[float]] = {name: [] for name in PAGES}
    with database.connection() as connection:
        for _ in range(rounds):
            for name, (query, sql) in PAGES.items():
                ours[name].append(_timed(lambda query=query: _rows(asker.ask(query))))  # type: ignore[misc]
                time.sleep(PAUSE)
                floor[name].append(_timed(lambda sql=sql: connection.exec_driver_sql(sql).all()))  # type: ignore[misc]
                connection.rollback()
                time.sleep(PAUSE)
    return {
        name: {
            "p50_ms": round(median(ours[name]) * 1000, 1),
            "p95_ms": round(sorted(ours[name])[int(rounds * 0.95)] * 1000, 1),
            "floor_p50_ms": round(median(floor[name]) * 1000, 1),
            "floor_p95_ms": round(sorted(floor[name])[int(rounds * 0.95)] * 1000, 1),
        }
        for name in PAGES
    }


def _rows(answer: Any) -> None:
    if "result" not in answer:
        raise RuntimeError(f"no page: {answer}")


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextmanager
def _maps(url: str, nodes: list[str]) -> Iterator[Callable[[], int]]:
    """24 maps at once, then 24 unmaps, again and again, by a process of its own; yields what tells how many ended."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit connections
    stop, ended = context.Event(), context.Value("i", 0)
    worker = context.Process(target=_churn, args=(url, nodes, stop, ended))
    worker.start()
    try:
        while ended.value < 2 * BATCH and worker.is_alive():
            time.sleep(0.1)
        if not worker.is_alive():
            raise RuntimeError("the maps don't run")
        yield lambda: int(ended.value)
    finally:
        stop.set()
        worker.join(120)


def _churn(url: str, nodes: list[str], stop: Event, ended: Any) -> None:
    bus = Bus(url)
    while not stop.is_set():
        bus.run([MapNode(project=PROJECT, node=node, image="golden", power="none") for node in nodes])
        ended.value += len(nodes)
        bus.run([UnmapNode(project=PROJECT, node=node) for node in nodes])
        ended.value += len(nodes)
    bus.close()


if __name__ == "__main__":
    main()
