"""What the measurements stand on: private services on loopback, an image, bmid, and a plain publisher.

The publisher speaks AMQP by itself, so that what is measured ends where bmid ends.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pika

from bmi_publish import Client
from bmid.handlers.create_project import CreateProject
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.register_node import RegisterNode
from bmid.handlers.show_image import ShowImage
from bmid.messages.base import Command
from bmid.messages.envelope import CONTENT_TYPE, Envelope, encode
from lab.bmid import Bmid, Parts, Shard
from lab.ceph import Ceph
from lab.process import free_port
from lab.rabbitmq import RabbitMQ
from lab.tgtd import Tgtd

__all__ = ["PROJECT", "Bench", "Bus", "golden", "keep", "median"]

PROJECT = "bench"
GIB = 1 << 30


def median(values: Sequence[float]) -> float:
    """The middle one."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def keep(figures: dict[str, Any], out: Path) -> None:
    """Show them, and write them where the report finds them."""
    text = json.dumps(figures, indent=1)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(f"{text}\n")
    print(text)


def golden(path: Path, size: int = 10 * GIB, filled: int = 64 << 20) -> Path:
    """A sparse raw file with some content and a boot sector's signature."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset in range(0, filled, 4 << 20):
            file.seek(offset * 8)
            file.write(bytes([1 + offset % 251]) * (4 << 20))
        file.seek(510)
        file.write(b"\x55\xaa")
    return path


class Bus:
    """Publishes many commands at once, and tells when their outcome events have come."""

    def __init__(self, url: str, outcomes: Sequence[str] = ("bmi.node.mapped.v1", "bmi.node.unmapped.v1")) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._user = url.partition("://")[2].partition(":")[0]
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        for kind in (*outcomes, "bmi.operation.failed.v1"):
            self._channel.queue_bind(self._queue, "bmi.events", f"{kind}.#")

    def run(self, commands: Sequence[Command]) -> float:
        """Publish all, and wait for all of their ends; seconds from the first publish to the last event."""
        waiting: set[str] = set()
        started = time.perf_counter()
        for command in commands:
            waiting.add(self._publish(command))
        for _method, _properties, body in self._channel.consume(self._queue, auto_ack=True, inactivity_timeout=60):
            if body is None:
                raise TimeoutError(f"{len(waiting)} of {len(commands)} commands have not ended")
            event = json.loads(body)
            if event["type"] == "bmi.operation.failed.v1":
                raise RuntimeError(event["data"]["problem"]["detail"])
            waiting.discard(event["correlationid"])
            if not waiting:
                break
        return time.perf_counter() - started

    def _publish(self, command: Command) -> str:
        envelope = Envelope(id=str(uuid.uuid4()), source="/bench", type=command.type, data=command.payload())
        headers, body = encode(envelope)
        properties = pika.BasicProperties(
            content_type=CONTENT_TYPE, headers=headers, user_id=self._user, delivery_mode=2, message_id=envelope.id
        )
        self._channel.basic_publish("bmi.commands", command.type, body, properties)
        return envelope.id

    def round_trip(self, count: int = 50) -> float:
        """Median seconds of what the broker itself needs: a confirmed publish to a quorum queue, and an event back."""
        times = []
        self._channel.queue_bind(self._queue, "bmi.events", "bmi.bench")
        list(self._drain())
        for _ in range(count):
            started = time.perf_counter()
            self._channel.basic_publish("bmi.events", "bmi.bench", b"{}", pika.BasicProperties(delivery_mode=2))
            next(self._channel.consume(self._queue, auto_ack=True, inactivity_timeout=10))
            times.append(time.perf_counter() - started)
        return median(times)

    def _drain(self) -> Iterator[bytes]:
        for _method, _properties, body in self._channel.consume(self._queue, auto_ack=True, inactivity_timeout=0.2):
            if body is None:
                return
            yield body

    def close(self) -> None:
        """Leave."""
        self._connection.close()


class Bench:
    """Services and bmid below `folder`. `nodes` are registered without power."""

    def __init__(self, folder: Path, nodes: int, shards: int = 1) -> None:
        self.folder = folder.absolute()
        self.rabbitmq = RabbitMQ(self.folder / "rabbitmq")
        self.ceph = Ceph(self.folder / "ceph")
        ports = [free_port() for _ in range(shards)]
        self.tgtds = [
            Tgtd(self.folder / f"tgtd{number}", portal_port=port, control_port=number)
            for number, port in enumerate(ports)
        ]
        self.nodes = [f"b{number:04}" for number in range(nodes)]
        self.bmid = Bmid(self.folder / "bmid")

    @contextmanager
    def running(self) -> Iterator[Self]:
        """All of it, from nothing, and its end."""
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self._start()
            self._fill()
            yield self
        finally:
            self._stop()

    def _start(self) -> None:
        services: tuple[Any, ...] = (self.rabbitmq, self.ceph, *self.tgtds)
        for service in services:
            service.start()
        self.bmid = Bmid(self.folder / "bmid", self._parts())
        self.bmid.start()

    def _stop(self) -> None:
        self.bmid.stop()
        for tgtd in self.tgtds:
            tgtd.stop()
        self.ceph.stop()
        self.rabbitmq.stop()

    def _parts(self) -> Parts:
        shards = tuple(Shard(f"s{number}", tgtd.socket, tgtd.portal) for number, tgtd in enumerate(self.tgtds))
        return Parts(
            broker_url=self.rabbitmq.url("bmid"),
            shards=shards,
            tftp=self.folder / "tftp",
            hosts=self.folder / "hosts",
            dnsmasq_pid=None,
            ceph_conf=self.ceph.conf,
            tgt_conf=self.ceph.tgt_conf,
        )

    def _fill(self) -> None:
        image = golden(self.bmid.imports / "golden.raw")
        with Client(url=self.rabbitmq.url("alice"), source="/bench") as client:
            client.wait(client.ticket(CreateProject(project=PROJECT)), timeout=30)
            source = ImageSource(file=image.name)
            result = client.wait(
                client.ticket(ImportImage(project=PROJECT, image="golden", source=source)), timeout=120
            )
            if not result.ok:
                raise RuntimeError(f"import: {result.problem}")
            nodes = [
                RegisterNode(node=name, macs=(f"52:54:00:be:{number >> 8:02x}:{number & 255:02x}",))
                for number, name in enumerate(self.nodes)
            ]
            client.wait_all([client.ticket(node) for node in nodes], timeout=120)

    def image_id(self) -> str:
        """The id under which the storage has the image."""
        with Client(url=self.rabbitmq.url("alice"), source="/bench") as client:
            return str(client.query(ShowImage(project=PROJECT, image="golden"))["image"]["id"])

    def usage(self) -> dict[str, Any]:
        """CPU seconds and resident MiB of bmid so far."""
        pid = self.bmid.process.pid
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
        rss = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return {"cpu": (int(fields[11]) + int(fields[12])) / 100, "rss_mib": int(rss.split()[1]) / 1024}
