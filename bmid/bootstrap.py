"""The composition root: settings in, running daemon out. The only module that knows everyone."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import structlog

from bmid.address import is_local
from bmid.amqp.consumer import Consumer
from bmid.amqp.ping import Pinger
from bmid.amqp.relay import Relay
from bmid.amqp.responder import Responder
from bmid.daemon import Bell, Daemon, Loop, trim
from bmid.duties import make_clockwork
from bmid.engine.acceptance import Acceptance
from bmid.engine.answerer import Answerer
from bmid.engine.boot_watch import BootWatch
from bmid.engine.download_desk import DownloadDesk
from bmid.engine.eviction import Eviction
from bmid.engine.export_watch import ExportWatch
from bmid.engine.herald import Herald
from bmid.engine.identity import Identity, Ports
from bmid.engine.keeper import Keeper
from bmid.engine.lane import SPARE
from bmid.engine.outgoing import OutboxReader
from bmid.engine.takeover import Takeover
from bmid.engine.upload_desk import UploadDesk
from bmid.engine.worker import Worker
from bmid.errors import BmiError, Misconfigured, TransientError
from bmid.handlers.registry import Registry, discover
from bmid.http.app import build
from bmid.http.server import HttpServer
from bmid.parts import make_broker, make_database, make_network, make_ports, make_presence, make_site, take_locks
from bmid.settings import Settings
from bmid.store import heads, networks, site
from bmid.store.wire import Wire

__all__ = ["Head"]

RELAY_GAP = 0.01  # seconds; many events a batch cost far less than many batches
WIRE_GAP = 0.05  # seconds; other heads are told of many rows at once
MAX_SILENCES = 2  # times that all connections were opened anew in vain; then only a new process can help
log = structlog.get_logger(__name__)


@dataclass
class _Health:
    """What /readyz and the status line say: each part with its problem, or ok."""

    parts: dict[str, Callable[[], str]]

    def report(self) -> dict[str, str]:
        return {name: part() for name, part in self.parts.items()}


class Head:
    """One head: everything made, nothing started until `run`. `ports` stand in for those that the settings name."""

    def __init__(self, settings: Settings, ports: Ports | None = None, loops: tuple[Loop, ...] = ()) -> None:
        self.settings = settings
        self.loops = loops
        self.registry: Registry = discover()
        self.database = make_database(settings)
        self.ports = ports or make_ports(settings)
        self.work, self.news, self.abroad = Bell(), Bell(), Bell()
        self._locks = take_locks(settings, self.database)
        self._began = False
        self._refusal: Misconfigured | None = None
        self.identity = Identity(
            head=settings.head.name,
            instance=uuid.uuid4().hex[:12],
            source=f"/bmid/{settings.head.name}",
            lease=settings.engine.claim_lease,
            dead_after=settings.engine.dead_after,
            give_up_after=settings.engine.give_up_after,
            active=set(),
            set_aside_after=settings.engine.set_aside_after,
        )
        self.http = self._http()
        url = settings.http.url or f"http://{settings.http.listen}:{self.http.port}"
        presence = make_presence(self.ports, url)
        self.keeper = Keeper(self.database, self.identity, presence, settings.head.state_folder / "instance")
        self.site, limit = make_site(settings, url), settings.images.max_upload
        self.acceptance = Acceptance(self.database, self.registry, self.site, self.identity, self.notify, limit)
        self.broker = make_broker(settings)
        # More than calls that may hang at a time, so that what needs none of them goes on.
        self.workers = settings.engine.workers + SPARE
        self.pool = ThreadPoolExecutor(self.workers, thread_name_prefix="stage")
        self.eviction = Eviction(self.database, self.ports, self.site.iqn_prefix, self.identity)
        self.clockwork = make_clockwork(
            settings, self.database, self.identity, self.ports, self.acceptance, self.notify
        )

    def notify(self) -> None:
        """Rows were written: workers and relay may have something to do."""
        self.work.ring()
        self.news.ring()
        self.abroad.ring()

    def _http(self) -> HttpServer:
        desk = UploadDesk(self.database, self.identity.head, self.settings.images.staging_folder, self.notify)
        exports = DownloadDesk(self.database, self.identity.head, self.settings.images.export_folder)
        health = _Health({"database": self._database_health, "broker": self._broker_health})
        return HttpServer(build(desk, health, downloads=exports), self.settings.http.listen, self.settings.http.port)

    def _database_health(self) -> str:
        return "ok" if self._began and self.acceptance.available() else "does not answer"

    def _broker_health(self) -> str:
        problem = self.relay.link.problem
        return "ok" if self.relay.link.is_open else problem.detail if problem else "not connected yet"

    def begin(self) -> None:
        """What needs the database before anything else may run. Raises TransientError while it is away."""
        self.database.verify()
        with self.database.write() as tx:
            alone = self.database.sqlite or not self.ports.storage.capabilities.shared
            others = heads.others(tx, self.identity.head, self.identity.dead_after)
            if alone and others:
                detail = f"head {others[0].name} is alive, and this database or storage serves one head only"
                raise Misconfigured(detail, todo="Use PostgreSQL and a shared storage for several heads.")
            networks.keep(tx, make_network(self.settings))
            site.keep(tx, uuid.uuid4().hex)
        self.keeper.start()
        with suppress(BmiError):  # before any work: what came to other heads while this one was away
            self.eviction.run_once()
        self._began = True
        log.info("head.began", head=self.identity.head, instance=self.identity.instance)

    @property
    def serving(self) -> bool:
        """Whether messages are taken and answered."""
        return self._began and all(link.is_open for link in self._links)

    def daemon(self) -> Daemon:
        """All loops, in the order of their start."""
        name, broker = self.identity.head, self.broker
        self.relay = Relay(broker, name, OutboxReader(self.database, self.identity))
        consumer = Consumer(broker, name, self.acceptance)
        responder = Responder(broker, name, Answerer(self.database, self.registry, self.identity))
        pinger = self._pinger(consumer, (self.relay, responder))
        self._links = (self.relay.link, consumer.link, responder.link)
        lanes, target = self.ports.lanes, self.ports.lanes.watched("target", self.ports.target)
        boots = BootWatch(self.database, target, self.acceptance, self.site, self.identity)
        exports = ExportWatch(self.database, target, self.acceptance, self.identity)
        loops = [
            Loop("keeper", self._keep, stage=3),
            Loop("relay", self._begun(lambda: self.relay.run_once(0.0)), 2, self.news, self.relay.close, gap=RELAY_GAP,
                 finishes=True),
            *(Loop(f"worker-{number}", self._begun(self._worker()), 1, self.work)
              for number in range(self.workers)),
            Loop("boots", self._begun(lambda: 0.1 if boots.run_once() else 1.0), 1),
            Loop("exports", self._begun(lambda: 2.0 if not exports.run_once() else 1.0), 1),
            Loop("calls", lanes.report, 2),
            Loop("clock", self.clockwork.mind, 2),
            Loop("consumer", self._begun(lambda: consumer.run_once(1.0)), 0, close=consumer.close),
            Loop("responder", self._begun(lambda: responder.run_once(1.0)), 0, close=responder.close),
            Loop("ping", self._begun(lambda: pinger.run_once(1.0)), 0, close=pinger.close),
            *([] if self.database.sqlite else [*self._wires(), *self._successions()]),
            *self.loops,
        ]  # fmt: skip
        bells = (self.work, self.news, self.abroad)
        return Daemon(loops, bells, self.settings.head.drain, self._status, lambda: pinger.silences < MAX_SILENCES)

    def _pinger(self, consumer: Consumer, others: tuple[Relay, Responder]) -> Pinger:
        settings = self.settings.broker
        every, limit = settings.ping_every, settings.ping_limit
        return Pinger(self.broker, self.identity.head, consumer, others, interval=every, limit=limit)

    def _successions(self) -> list[Loop]:
        """What other heads had passes to this one, and what they have now goes from here."""
        storage = self.ports.lanes.watched("storage", self.ports.storage)
        takeover = Takeover(self.database, self.registry, storage, self.identity, is_local, self.notify)
        turns = {"takeover": takeover.run_once, "eviction": self.eviction.run_once}
        return [Loop(name, self._begun(lambda turn=turn: 0.0 if turn() else 1.0), 1) for name, turn in turns.items()]  # type: ignore[misc]

    def _wires(self) -> list[Loop]:
        """Bells to and from other heads."""
        wire = Wire(self.database, self.identity.instance)
        herald = Herald(wire, self.keeper, self.abroad.count, self._hear)
        return [
            Loop("teller", self._begun(herald.tell), 2, self.abroad, gap=WIRE_GAP),
            Loop("listener", self._begun(herald.hear), 1, close=herald.close, gap=WIRE_GAP),
        ]

    def _hear(self) -> None:
        self.work.ring(all_of_them=True)
        self.news.ring()

    def _keep(self) -> float:
        if not self._began:
            try:
                self.begin()
            except Misconfigured as error:
                log.error("head.misconfigured", detail=str(error), todo=error.problem.todo)
                self._refusal = error
                self._daemon.stop()
                return 60.0
        self.keeper.run_once()
        return self.keeper.interval

    def _worker(self) -> Callable[[], float]:
        worker = Worker(self.database, self.registry, self.ports, self.site, self.identity, self.pool, self.notify)
        return lambda: 0.0 if worker.run_once() else worker.pause()

    def _begun(self, turn: Callable[[], float]) -> Callable[[], float]:
        return lambda: turn() if self._began else 0.2

    def _status(self) -> str:
        return json.dumps({"head": self.identity.head, "active": len(self.identity.active), "began": self._began})

    def run(self) -> None:
        """Blocks until the daemon is told to stop."""
        log.info("head.starts", pid=os.getpid(), http_port=self.http.port)
        with suppress(TransientError):
            self.begin()
        trim()
        self._daemon = self.daemon()
        server = threading.Thread(target=self.http.serve, name="http", daemon=True)
        server.start()
        self.clockwork.start()
        self._daemon.run()
        self.clockwork.stop()
        if self._began:
            with suppress(BmiError):
                self.keeper.stop()
        self.http.stop()
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.ports.storage.close()
        self.ports.target.close()
        self.database.close()
        if self._refusal is not None:
            raise self._refusal
