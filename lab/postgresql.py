"""A private PostgreSQL server on a Unix socket, and on loopback or one address of this machine.

Its process and its databases; tables belong to whoever uses a database.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from lab import procfs
from lab.place import drop_short_folder, remember, short_folder, write_private
from lab.process import LabError, Process, free_port, wait_for

_USER = "bmi"
_ACCOUNT = "postgres"  # the server refuses to run as root

# Lab only: few connections and little memory, but fsync stays on, because commits are what is measured.
_CONFIG = """
listen_addresses = '{address}'
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0777
fsync = on
synchronous_commit = on
max_connections = 200
shared_buffers = 64MB
dynamic_shared_memory_type = mmap
autovacuum_naptime = 10s
log_checkpoints = off
logging_collector = off
"""


class PostgreSQL:
    """One server with the superuser bmi (random password) and an empty database bmi. `address` is remembered.

    Its log, pid and password lie in `folder`; its data in a short folder under /tmp that the unprivileged
    account of the server can reach, and that `stop` removes. `before` is the command that the server is started by.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1", before: Sequence[str] = ()) -> None:
        self.folder = folder.absolute()
        self._where = address
        self._before = tuple(before)

    def start(self) -> None:
        """Make the data, start the server, and return when it answers (about 1.5 s). Raises LabError."""
        if self._process().alive():
            return
        self._make_data()
        self._run_server()
        self.create_database(_USER)

    def stop(self) -> None:
        """End it at once and remove its data."""
        self.thaw()
        process = self._process()
        if process.signal(signal.SIGQUIT):  # "immediate": it ends its backends, which sit in sessions of their own
            with suppress(LabError):
                wait_for(lambda: not process.alive(), 60, "end")
        process.kill()
        drop_short_folder(self.folder)

    def kill(self) -> None:
        """SIGKILL to the server and its backends, as a power cut would; the data stays, for `restart`."""
        process = self._process()
        process.freeze()  # so that it makes no backend that isn't found here
        for pid in self._family():
            procfs.send(pid, signal.SIGKILL)
        process.kill()

    def restart(self) -> None:
        """Kill it and start it on the same data, which it recovers from its log."""
        self.kill()
        for lock in (self._data / "postmaster.pid", *self._data.glob(".s.PGSQL.*")):
            lock.unlink(missing_ok=True)
        self._run_server()

    def freeze(self) -> None:
        """SIGSTOP to the server and its backends: queries hang, and so do new connections."""
        self._process().freeze()  # so that it makes no backend that isn't found here
        for pid in self._family():
            procfs.send(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT to the server and its backends."""
        for pid in self._family():
            procfs.send(pid, signal.SIGCONT)

    def alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process().alive()

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database bmi."""
        return f"postgresql+psycopg://{self._address(_USER)}"

    @property
    def socket_folder(self) -> Path:
        """The folder of its Unix socket, whose name carries the port."""
        return short_folder(self.folder)

    def create_database(self, name: str, template: str = "template1") -> str:
        """Make a copy of a database that nobody is connected to, an empty one unless it is named, and return its
        SQLAlchemy URL. Raises psycopg.Error, as when it exists."""
        with psycopg.connect(f"postgresql://{self._address('postgres')}", autocommit=True) as connection:
            command = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            connection.execute(command)
        return f"postgresql+psycopg://{self._address(name)}"

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it; quiet if there is none."""
        command = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(f"postgresql://{self._address('postgres')}", autocommit=True) as connection:
            connection.execute(command)

    @property
    def _data(self) -> Path:
        return short_folder(self.folder) / "data"

    def _address(self, database: str) -> str:
        settings = self._settings()
        where = f"{settings.get('address', '127.0.0.1')}:{settings['port']}"
        return f"{_USER}:{settings['password']}@{where}/{database}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(f"postgresql://{self._address('postgres')}", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _settings(self) -> dict[str, Any]:
        path = self.folder / "postgresql.json"
        if path.exists():
            return remember(path, {})
        port = free_port(self._where)
        return remember(path, {"address": self._where, "port": port, "password": secrets.token_urlsafe(18)})

    def _make_data(self) -> None:
        drop_short_folder(self.folder)  # what a killed lab left
        short = short_folder(self.folder)
        password = short / "password"
        write_private(password, self._settings()["password"])
        self._data.mkdir(mode=0o700)
        if os.getuid() == 0:
            shutil.chown(password, _ACCOUNT, _ACCOUNT)
            shutil.chown(self._data, _ACCOUNT, _ACCOUNT)
        options = ["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"]
        command = [
            *_account(),
            _program("initdb"),
            "-D",
            str(self._data),
            "-U",
            _USER,
            f"--pwfile={password}",
            *options,
        ]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        password.unlink()
        if done.returncode:
            raise LabError(f"initdb: {done.stderr[-2000:]}")
        settings = self._settings()
        where = settings.get("address", "127.0.0.1")
        text = _CONFIG.format(address=where, port=settings["port"], sockets=self._data)
        if where != "127.0.0.1":
            with (self._data / "pg_hba.conf").open("a") as file:
                file.write("host all all samenet scram-sha-256\n")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(text)

    def _run_server(self) -> None:
        process = self._process()
        process.start()
        process.wait_for(self._answers, 120, "its first connection")

    def _process(self) -> Process:
        # The working folder must be one that the unprivileged account may enter.
        command = [*_account(), *self._before, _program("postgres"), "-D", str(self._data)]
        return Process("postgresql", self.folder, command, cwd=Path("/"))

    def _family(self) -> list[int]:
        """The server and its backends, which put themselves into sessions of their own."""
        pid = self._process().pid
        if pid is None:
            return []
        return [pid, *(child.pid for child in procfs.every() if child.parent == pid and not child.ended)]


def _account() -> list[str]:
    """What to put before a command so that it doesn't run as root, which the server refuses."""
    if os.getuid() != 0:
        return []
    return ["setpriv", f"--reuid={_ACCOUNT}", f"--regid={_ACCOUNT}", "--init-groups", "--"]


def _program(name: str) -> str:
    """The newest version's program. Raises LabError if PostgreSQL isn't installed."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if not found:
        raise LabError(f"postgresql: {name} is not installed (script/setup installs it)")
    return str(found[-1])
