"""Builds real bmids on parts of their own, for one test or shared by the whole run, and ends what it built."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab.bmid import Parts, Shard
from lab.ceph import Ceph
from lab.postgresql import PostgreSQL
from lab.process import Process, free_port
from lab.rabbitmq import RabbitMQ
from lab.tgtd import Tgtd
from tests.support.house import House
from tests.support.proxy import Proxy
from tests.support.strange import STRANGE

__all__ = ["Builder", "House", "new_token"]

USERS = ("bmid", "alice", "bob")


def make_vhost(rabbitmq: RabbitMQ, name: str) -> str:
    """A vhost of its own on a shared broker, for the same users; its URL for bmid."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    definitions = rabbitmq.folder / f"{name}.json"
    permissions = [{"user": user, "vhost": name, **everything} for user in USERS]
    definitions.write_text(json.dumps({"vhosts": [{"name": name}], "permissions": permissions}))
    rabbitmq.ctl("import_definitions", str(definitions))
    return f"{rabbitmq.url('bmid').rpartition('/')[0]}/{name}"


class Builder:
    """Makes houses on shared services, and ends what it started."""

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self._folder = folder
        self._request = request
        self._failed = request.session.testsfailed
        self._stack = ExitStack()
        self._numbers = itertools.count()

    def house(
        self,
        *,
        ceph: bool,
        postgresql: bool,
        start: bool = True,
        dnsmasq: bool = False,
        rabbitmq: RabbitMQ | None = None,
        server: PostgreSQL | None = None,
        settings: dict[str, dict[str, object]] | None = None,
        proxy: Proxy | None = None,
        netns: str | None = None,
    ) -> House:
        """A house of its own; started, unless told not to. `proxy` stands between bmid and its broker; `netns` is where
        bmid alone lives."""
        name = f"house{next(self._numbers)}-{secrets.token_hex(3)}"
        folder = self._folder / name
        folder.mkdir()
        broker = rabbitmq or self._request.getfixturevalue("rabbitmq")
        tgtd = Tgtd(folder / "tgtd", portal_port=free_port())
        self._stack.callback(tgtd.stop)
        tgtd.start()
        url = make_vhost(broker, name)
        parts = Parts(
            broker_url=proxy.before(url) if proxy else url,
            shards=(Shard("s0", tgtd.socket, tgtd.portal),),
            tftp=folder / "tftp",
            hosts=folder / "hosts",
            dnsmasq_pid=self._dnsmasq(folder) if dnsmasq else None,
            settings={"power": {"drivers": ["redfish", "memory"]}, **(settings or {})},
            netns=netns,
        )
        if ceph:
            parts = self._on_ceph(parts, self._request.getfixturevalue("ceph"), name)
        if postgresql:
            database: PostgreSQL = server or self._request.getfixturevalue("postgresql")
            parts = replace(parts, database=database.create_database(name.replace("-", "_")))
        house = House(folder, broker, parts, tgtd)
        house.bmid.configure()
        self._stack.callback(house.bmid.stop)
        self._stack.callback(house.close)
        if start:
            house.start()
        return house

    def _dnsmasq(self, folder: Path) -> Path:
        """A dnsmasq that answers nobody; it is there to be found and told to read its files again."""
        pid = folder / "server.pid"
        options = ["-k", "--conf-file=/dev/null", "--port=0", "--user=root", f"--pid-file={pid}"]
        process = Process("dnsmasq", folder, ["dnsmasq", *options])
        self._stack.callback(process.stop)
        process.start()
        process.wait_for(pid.exists, 60, "its pid")
        return pid

    def _on_ceph(self, parts: Parts, ceph: Ceph, pool: str) -> Parts:
        ceph.extra_pool(pool)
        theirs = [ceph.extra_pool(STRANGE)]
        images = {"import_pools": theirs, "export_pools": theirs, **parts.settings.get("images", {})}
        rbd = {"pool": pool, **parts.settings.get("storage.rbd", {})}
        merged = {**parts.settings, "images": images, "storage.rbd": rbd}
        return replace(parts, ceph_conf=ceph.conf, tgt_conf=ceph.tgt_conf, settings=merged)

    def close(self) -> None:
        """Stop all, and keep the folder only where a test has failed."""
        self._stack.close()
        if self._request.session.testsfailed == self._failed:
            shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def building(folder: Path, request: pytest.FixtureRequest) -> Iterator[Builder]:
    """A builder, and the end of all that it built."""
    builder = Builder(folder, request)
    try:
        yield builder
    finally:
        builder.close()


@pytest.fixture
def builder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Builder]:
    """Builds houses for one test, which may break them."""
    with building(tmp_path_factory.mktemp("builder"), request) as made:
        yield made


# The services are named first: what is asked for first ends last.
@pytest.fixture(scope="session")
def ceph_house(
    rabbitmq: RabbitMQ,
    ceph: Ceph,
    postgresql: PostgreSQL,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[House]:
    """A bmid on Ceph and PostgreSQL, shared by the whole run."""
    with building(tmp_path_factory.mktemp("ceph-house"), request) as made:
        yield made.house(ceph=True, postgresql=True)


@pytest.fixture(scope="session")
def folder_house(
    rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[House]:
    """A bmid on a folder and SQLite, shared by the whole run."""
    with building(tmp_path_factory.mktemp("folder-house"), request) as made:
        yield made.house(ceph=False, postgresql=False)


@pytest.fixture(params=["ceph-postgresql", "folder-sqlite"])
def house(request: pytest.FixtureRequest) -> House:
    """The shared bmid, in both flavours."""
    name = "ceph_house" if request.param == "ceph-postgresql" else "folder_house"
    made: House = request.getfixturevalue(name)
    return made


def new_token() -> tuple[str, str]:
    """A token for an upload, and its SHA-256."""
    token = secrets.token_urlsafe(16)
    return token, hashlib.sha256(token.encode()).hexdigest()
