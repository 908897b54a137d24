"""The classic sequence: what BMI's predecessor did for a map and an unmap, written new from a description of it.

Each map is two web requests, each passed on over a second hop to one engine that does one thing at a time. The
engine connects to Ceph and to the database anew each time, clones with layering only, asks `tgt-admin` for all
targets and has it execute a file that it wrote. No sudo and no debug log on either side.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import rados
import rbd

from benchmarks.bench import Bench

__all__ = ["Classic"]


class _Server(ThreadingHTTPServer):
    """Answers GET /VERB/ARGUMENT with what `act` returns."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, act: Callable[[str, str], str]) -> None:
        self.act = act
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        _, verb, argument = self.path.split("/", 2)
        body = cast(_Server, self.server).act(verb, argument).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=600) as answer:  # noqa: S310 - an address of ours
        return str(answer.read().decode())


class Classic:
    """The engine, its front, and a HIL that knows every node."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._folder = bench.folder / "classic"
        (self._folder / "conf.d").mkdir(parents=True, exist_ok=True)
        (self._folder / "tftp/pxelinux.cfg").mkdir(parents=True, exist_ok=True)
        self._image = f"image-{bench.image_id()}"
        self._database = self._folder / "classic.db"
        self._one_at_a_time = threading.Lock()
        with sqlite3.connect(self._database) as database:
            database.executescript(
                "DROP TABLE IF EXISTS project; DROP TABLE IF EXISTS image;"
                "CREATE TABLE project(id INTEGER PRIMARY KEY, name TEXT);"
                "CREATE TABLE image(id INTEGER PRIMARY KEY, name TEXT, project INTEGER, parent INTEGER);"
                "INSERT INTO project VALUES (1, 'bench'); INSERT INTO image VALUES (1, 'golden', 1, NULL);"
            )
        self._hil = _Server(lambda verb, node: f'{{"name": "{node}", "nics": [{{"macaddr": "52:54:00:00:00:01"}}]}}')
        self._engine = _Server(self._serially)
        self._front = _Server(lambda verb, disk: _get(f"{self._engine.url}/{verb}/{disk}"))

    def rates(self, count: int) -> dict[str, float]:
        """Maps and unmaps a second, `count` sent at once."""
        disks = [f"classic{number}" for number in range(count)]
        rates = {}
        with ThreadPoolExecutor(count) as pool:
            for what, verbs in (("map", ("create", "point")), ("unmap", ("unpoint", "delete"))):
                started = time.perf_counter()
                list(pool.map(self._asked, disks, [verbs] * count))
                rates[what] = count / (time.perf_counter() - started)
        return rates

    def _asked(self, disk: str, verbs: tuple[str, ...]) -> None:
        for verb in verbs:
            _get(f"{self._front.url}/{verb}/{disk}")

    def _serially(self, verb: str, disk: str) -> str:
        acts = {"create": self._create, "point": self._point, "unpoint": self._unpoint, "delete": self._delete}
        with self._one_at_a_time:
            acts[verb](disk)
        return "ok"

    def _create(self, disk: str) -> None:
        cluster, pool, database = self._connect()
        database.execute("SELECT * FROM project WHERE name = 'bench'").fetchone()
        database.execute("SELECT * FROM image WHERE name = 'golden' AND project = 1").fetchone()
        database.execute("INSERT INTO image(name, project, parent) VALUES (?, 1, 1)", (disk,))
        database.commit()
        for name in ("golden", disk):
            database.execute("SELECT id FROM image WHERE name = ?", (name,)).fetchone()
        rbd.RBD().clone(pool, self._image, "golden", pool, disk, features=rbd.RBD_FEATURE_LAYERING)
        if disk in self._targets():
            raise RuntimeError(f"{disk} is exported already")
        self._conf(disk).write_text(self._target(disk))
        self._admin("--execute")
        self._leave(cluster, pool, database)

    def _point(self, disk: str) -> None:
        mac = re.split(r'"macaddr": "([^"]+)"', _get(f"{self._hil.url}/node/{disk}"))
        script = f"#!ipxe\ndhcp net0\nsanboot iscsi:127.0.0.1::3260:1:{disk}\n"
        (self._folder / f"tftp/{disk}.ipxe").write_text(script)
        name = f"01-{mac[1].replace(':', '-')}-{disk}"
        (self._folder / "tftp/pxelinux.cfg" / name).write_text(f"DEFAULT ipxe\nAPPEND {disk}.ipxe\n")

    def _unpoint(self, disk: str) -> None:
        _get(f"{self._hil.url}/node/{disk}")
        for path in self._folder.glob(f"tftp/**/*{disk}*"):
            if path.name.endswith((disk, f"{disk}.ipxe")):
                path.unlink()

    def _delete(self, disk: str) -> None:
        cluster, pool, database = self._connect()
        database.execute("SELECT * FROM image WHERE name = ?", (disk,)).fetchone()
        self._targets()
        self._conf(disk).unlink()
        self._admin("-f", "--delete", disk)
        rbd.RBD().remove(pool, disk)
        database.execute("DELETE FROM image WHERE name = ?", (disk,))
        database.commit()
        self._leave(cluster, pool, database)

    def _connect(self) -> tuple[rados.Rados, rados.Ioctx, sqlite3.Connection]:
        database = sqlite3.connect(self._database)
        options = {"rbd_default_clone_format": "2"}
        cluster = rados.Rados(conffile=str(self._bench.ceph.conf), name="client.bmi", conf=options)
        cluster.connect()
        return cluster, cluster.open_ioctx("bmi"), database

    def _leave(self, cluster: rados.Rados, pool: rados.Ioctx, database: sqlite3.Connection) -> None:
        pool.close()
        cluster.shutdown()
        database.close()

    def _conf(self, disk: str) -> Path:
        return self._folder / "conf.d" / f"{disk}.conf"

    def _target(self, disk: str) -> str:
        return (
            f"<target {disk}>\n  driver iscsi\n  bs-type rbd\n  backing-store bmi/{disk}\n"
            f"  bsopts \"'conf={self._bench.ceph.tgt_conf};id=bmi'\"\n"
            f"  write-cache off\n  initiator-address ALL\n</target>\n"
        )

    def _targets(self) -> set[str]:
        return set(re.findall(r"^Target \d+: (\S+)", self._admin("-s"), re.MULTILINE))

    def _admin(self, *arguments: str) -> str:
        main = self._folder / "targets.conf"
        main.write_text(f"include {self._folder}/conf.d/*.conf\n")
        tgtd = self._bench.tgtds[0]
        command = ["tgt-admin", "--conf", str(main), "-C", str(tgtd.control_port), *arguments]
        environment = {**os.environ, **tgtd.environment}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=120)
        return done.stdout
