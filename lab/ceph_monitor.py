"""What the lab asks of a Ceph cluster's monitor, as its administrator.

No process is started here and no file written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rados

from lab import ceph_conf
from lab.process import LabError


class Administrator:
    """Commands to the monitor over an open connection with all rights. Each raises LabError."""

    def __init__(self, cluster: rados.Rados) -> None:
        self.cluster = cluster

    def command(self, prefix: str, given: str = "", **arguments: Any) -> Any:
        """Any command by its prefix, with `given` as its input; its answer, read as JSON where it is JSON."""
        text = json.dumps({"prefix": prefix, "format": "json", **arguments})
        code, answer, status = self.cluster.mon_command(text, given.encode(), timeout=30)
        if code:
            raise LabError(f"ceph {prefix}: {status or os.strerror(-code)}")
        try:
            return json.loads(answer)
        except ValueError:
            return answer.decode()

    def add_osd(self, number: int, identity: str, key: str) -> None:
        """Let an OSD with this UUID and cephx key join."""
        self.command("osd new", json.dumps({"cephx_secret": key}), uuid=identity, id=number)

    def add_user(self, name: str, key: str) -> None:
        """Add client.`name`, with the rights that RBD clients have in all pools that there are."""
        keyring = ceph_conf.keyring(f"client.{name}", key)
        self.command("auth add", keyring, entity=f"client.{name}", caps=self._rights())

    def allow_all_pools(self, name: str) -> None:
        """Give client.`name` the rights that RBD clients have in all pools that there are by now."""
        self.command("auth caps", entity=f"client.{name}", caps=self._rights())

    def make_pool(self, name: str, groups: int) -> None:
        """Make a pool for RBD, or find it."""
        self.command("osd pool create", pool=name, pg_num=groups, pgp_num=groups)
        self.command("osd pool application enable", pool=name, app="rbd")

    def up_since(self) -> dict[int, int]:
        """OSD → the epoch of the map since which it is up; 0 while it is down."""
        return {osd["osd"]: osd["up_from"] * osd["up"] for osd in self.command("osd dump")["osds"]}

    def _rights(self) -> list[str]:
        pools = sorted(pool["pool_name"] for pool in self.command("osd dump")["pools"])
        return ["mon", "profile rbd", "osd", ", ".join(f"profile rbd pool={pool}" for pool in pools)]


@contextmanager
def connect(conf: Path) -> Iterator[Administrator]:
    """An administrator's connection, closed at the end. Raises LabError if there is none within 30 s."""
    timeouts = {"client_mount_timeout": "30", "rados_mon_op_timeout": "30"}
    cluster = rados.Rados(conffile=str(conf), name="client.admin", conf=timeouts)
    try:
        try:
            cluster.connect()
        except rados.Error as error:
            raise LabError(f"ceph: no log-in as administrator: {error}") from error
        yield Administrator(cluster)
    finally:
        cluster.shutdown()
