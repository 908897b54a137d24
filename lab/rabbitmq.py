"""A private RabbitMQ node with its own epmd, cookie and ports, on loopback or one address of this machine.

Its process, users and connections; exchanges and queues belong to whoever speaks to it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import socket
import subprocess
from pathlib import Path
from typing import Any

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from lab.place import remember, write_private
from lab.process import LabError, Process, free_port

VHOST = "bmi"
USERS = ("bmid", "alice", "bob")
_BIN = Path("/usr/lib/rabbitmq/bin")  # the wrappers in /usr/sbin change the user and use /var/lib/rabbitmq

# Lab only: one node that is thrown away needs neither many schedulers' busy waiting nor a preallocated log.
_CONFIG = """\
listeners.tcp.1 = {address}:{amqp_port}
distribution.listener.interface = 127.0.0.1
load_definitions = {definitions}
default_vhost = {vhost}
loopback_users = none
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = warning
log.file = false
"""


class RabbitMQ:
    """One node whose state lies in `folder`. Ports and passwords are chosen once and remembered there, like the address
    that it listens on.

    Users: bmid, alice and bob, each with all rights in the vhost "bmi" and a random password.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.folder = folder.absolute()
        self._address = address

    def start(self) -> None:
        """Start it, and return when a user of ours can log in (about 4 s). Raises LabError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_files()
        epmd = self._epmd()
        epmd.start()
        epmd.wait_for(self._epmd_listens, 60, "its port")
        node = self._node()
        node.start()
        node.wait_for(self._accepts, 180, "its first log-in")

    def stop(self) -> None:
        """End the node and its epmd. What durable queues hold survives to the next start."""
        self._node().thaw()
        self._node().stop(grace=60)  # killed before its end, it may have lost what it promised to keep
        self._epmd().stop()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._node().kill()
        self._epmd().stop()

    def restart(self) -> None:
        """Stop it in order and start it again on the same ports, with the same users."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        self._node().freeze()

    def resume(self) -> None:
        """SIGCONT."""
        self._node().thaw()

    def alive(self) -> bool:
        """Whether the node's process runs."""
        return self._node().alive()

    @property
    def port(self) -> int:
        """The AMQP port."""
        return int(self._settings()["amqp_port"])

    @property
    def address(self) -> str:
        """Where it listens."""
        return str(self._settings().get("address", "127.0.0.1"))

    def password(self, user: str) -> str:
        """The password of one of the users. Raises KeyError for anybody else."""
        return str(self._settings()["passwords"][user])

    def url(self, user: str = "bmid") -> str:
        """amqp://USER:PASSWORD@ADDRESS:PORT/bmi. Raises KeyError for an unknown user."""
        return f"amqp://{user}:{self.password(user)}@{self.address}:{self.port}/{VHOST}"

    def close_connections(self, user: str, reason: str = "closed by the lab") -> None:
        """Have the broker close all connections of a user (about 0.4 s)."""
        self.ctl("close_all_user_connections", user, reason)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node and return its output (about 0.4 s). Raises LabError."""
        if not self.alive():
            # rabbitmqctl would start an epmd of its own, which nobody stops.
            raise LabError("rabbitmqctl: the node isn't running")
        command = [str(_BIN / "rabbitmqctl"), "--quiet", *arguments]
        environment = {**os.environ, **self._environment()}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode:
            raise LabError(f"rabbitmqctl {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _accepts(self) -> bool:
        # The port alone could be somebody else's; nobody else knows the password.
        parameters = pika.URLParameters(self.url("bmid") + "?connection_attempts=1&socket_timeout=2")
        try:
            pika.BlockingConnection(parameters).close()
        except (AMQPError, AMQPConnectorException, OSError):
            return False
        return True

    def _epmd_listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._settings()["epmd_port"]), 1).close()
        except OSError:
            return False
        return True

    def _settings(self) -> dict[str, Any]:
        path = self.folder / "rabbitmq.json"
        if path.exists():
            return remember(path, {})
        ports = {name: free_port() for name in ("dist_port", "epmd_port")}
        ports["amqp_port"] = free_port(self._address)
        return remember(
            path, {**ports, "address": self._address, "passwords": {user: secrets.token_urlsafe(18) for user in USERS}}
        )

    def _write_files(self) -> None:
        settings = self._settings()
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            write_private(cookie, secrets.token_hex(20))
            cookie.chmod(0o400)
        definitions = self.folder / "definitions.json"
        write_private(definitions, json.dumps(_definitions(settings["passwords"])))
        values = {"address": self.address, "amqp_port": settings["amqp_port"], "definitions": definitions}
        (self.folder / "rabbitmq.conf").write_text(_CONFIG.format(**values, vhost=VHOST))
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "env.conf").touch()

    def _environment(self) -> dict[str, str]:
        settings = self._settings()
        folder = self.folder
        return {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(settings["epmd_port"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "bmi@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": self.address,
            "RABBITMQ_NODE_PORT": str(settings["amqp_port"]),
            "RABBITMQ_DIST_PORT": str(settings["dist_port"]),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "beam.pid"),
            # The variable by which the start script becomes the node instead of waiting beside it.
            "detached": "1",
            # One epmd is enough, and it is ours to stop.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false",
            "RABBITMQ_CTL_ERL_ARGS": "-start_epmd false",
            "LC_ALL": "C.UTF-8",
        }

    def _node(self) -> Process:
        return Process("rabbitmq", self.folder, [_BIN / "rabbitmq-server"], env=self._environment())

    def _epmd(self) -> Process:
        port = str(self._settings()["epmd_port"])
        return Process("epmd", self.folder, ["epmd", "-port", port, "-address", "127.0.0.1"])


def _definitions(passwords: dict[str, str]) -> dict[str, Any]:
    """What the node loads at its first start: much quicker than one rabbitmqctl for each of them."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    return {
        "vhosts": [{"name": VHOST}],
        "users": [
            {
                "name": user,
                "password_hash": _password_hash(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for user, password in passwords.items()
        ],
        "permissions": [{"user": user, "vhost": VHOST, **everything} for user in passwords],
    }


def _password_hash(password: str) -> str:
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
