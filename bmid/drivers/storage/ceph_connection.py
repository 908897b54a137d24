"""The one connection of this process to Ceph: opened when first needed, shared by all threads, opened anew when lost.

What is done over it lives in the driver.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import rados

from bmid.drivers.storage.ceph_error import CEPH_ERRORS, CONNECTION_LOST, translate
from bmid.errors import BmiError, TransientError

__all__ = ["CephConnection", "CephSession", "plain", "prepare_trash"]


# The first of `[v2:10.0.0.1:0/17,v1:10.0.0.1:0/17]`, which are one client; what its watches and the blocklist say.
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9.]+):\d+/\d+")


def plain(addresses: str) -> str:
    """A client's address as the blocklist takes it: IP:PORT/NONCE. TransientError if there is none in it."""
    found = _ADDRESS.search(addresses)
    if found is None:
        raise TransientError(
            "storage-error",
            f"Ceph says that our address is {addresses}",
            todo="It is tried again. If it stays so, look at Ceph: `ceph -s`, and the log of its monitors.",
        )
    return found.group()


@dataclass(eq=False)
class CephSession:
    """An open connection: the cluster, the pool, and who we are among the watchers of an image and in the blocklist."""

    cluster: Any
    pool: Any
    instance: int
    address: str
    users: int = 0
    retired: bool = False

    def command(self, **words: object) -> Any:
        """A command to the monitors, its JSON answer read; None where the answer is empty.

        Raises rados.Error and TransientError `storage-error`.
        """
        code, output, text = self.cluster.mon_command(json.dumps({**words, "format": "json"}), b"")
        if code:
            slug = "storage-timeout" if code == -110 else "storage-error"
            raise TransientError(
                slug,
                f"Ceph's monitors answer {code} to {words['prefix']}: {text}",
                todo="It is tried again. If it stays so, look at Ceph: `ceph -s`, and the log of its monitors.",
            )
        return json.loads(output) if output.strip() else None


class CephConnection:
    """Hands out the session to any number of threads at once.

    conf, user and pool name the cluster; timeout (seconds) bounds each operation, because librados by itself
    waits for ever.
    """

    def __init__(self, conf: Path, user: str, pool: str, timeout: float) -> None:
        self._conf = conf
        self._user = user
        self._pool = pool
        self._timeout = timeout
        self._lock = Lock()
        self._opening = Lock()
        self._session: CephSession | None = None
        self._attempts = 0
        self._failure: BmiError | None = None

    @contextmanager
    def session(self) -> Iterator[CephSession]:
        """The session, for the length of a `with`. Errors of Ceph leave it translated."""
        session = self._enter()
        try:
            yield session
        except CONNECTION_LOST as error:
            self._retire(session)
            raise translate(error) from error
        except CEPH_ERRORS as error:
            raise translate(error) from error
        finally:
            self._leave(session)

    def close(self) -> None:
        """Shut the connection down as soon as nobody uses it any more."""
        with self._lock:
            session = self._session
        if session is not None:
            self._retire(session)
            self._shut_down_if_idle(session)

    def _enter(self) -> CephSession:
        with self._lock:
            if self._session is not None:
                self._session.users += 1
                return self._session
            seen = self._attempts
        with self._opening:
            with self._lock:
                if self._session is not None:
                    self._session.users += 1
                    return self._session
                # While this thread queued another one tried in vain: waiting out the same timeout once for each
                # thread would hold the last one for many minutes.
                if self._attempts > seen and self._failure is not None:
                    raise TransientError(
                        self._failure.problem.slug, self._failure.problem.detail, todo=self._failure.problem.todo
                    )
            session, failure = self._open()
            with self._lock:
                self._attempts += 1
                self._failure = failure
                if session is None:
                    assert failure is not None  # noqa: S101 - one of the two is always set
                    raise failure
                session.users = 1
                self._session = session
                return session

    def _open(self) -> tuple[CephSession | None, BmiError | None]:
        seconds = str(self._timeout)
        cluster = None
        try:
            cluster = rados.Rados(
                conffile=str(self._conf),
                rados_id=self._user,
                conf={
                    "rados_osd_op_timeout": seconds,
                    "rados_mon_op_timeout": seconds,
                    "client_mount_timeout": seconds,
                    "rbd_default_clone_format": "2",
                },
            )
            cluster.connect()
            pool = cluster.open_ioctx(self._pool)
            # A full pool answers at once instead of holding us until the timeout, and what frees space still works.
            pool.set_osdmap_full_try()
            prepare_trash(pool)
            return CephSession(cluster, pool, cluster.get_instance_id(), plain(cluster.get_addrs())), None
        except CEPH_ERRORS as error:
            if cluster is not None:
                cluster.shutdown()
            return None, translate(error)

    def _retire(self, session: CephSession) -> None:
        with self._lock:
            session.retired = True
            if self._session is session:
                self._session = None

    def _leave(self, session: CephSession) -> None:
        with self._lock:
            session.users -= 1
        self._shut_down_if_idle(session)

    def _shut_down_if_idle(self, session: CephSession) -> None:
        with self._lock:
            if not session.retired or session.users > 0 or session.cluster is None:
                return
            cluster, session.cluster = session.cluster, None  # so that it is shut down once
        session.pool.close()
        cluster.shutdown()


def prepare_trash(pool: Any) -> None:
    """Make the list of what is in the trash, as librbd does when it is needed first: in a full pool it couldn't, and
    says then that the image to be moved isn't there. Raises rados.Error."""
    try:
        pool.stat("rbd_trash")
    except rados.ObjectNotFound:
        with suppress(rados.NoSpace), rados.WriteOpCtx() as operation:
            operation.new(rados.LIBRADOS_CREATE_IDEMPOTENT)
            pool.operate_write_op(operation, "rbd_trash")
