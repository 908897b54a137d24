"""Where the broker is, and how we log in there. No connection is made here."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pika import ConnectionParameters, PlainCredentials, SSLOptions

from bmid.errors import Misconfigured

__all__ = ["Broker"]

HEARTBEAT = 20
BLOCKED_TIMEOUT = 30
STACK_TIMEOUT = 15


@dataclass(frozen=True)
class Broker:
    """Where the broker is and who we are there. The password is read from its file at each connect."""

    host: str = "127.0.0.1"
    port: int = 5672
    vhost: str = "bmi"
    user: str = "bmid"
    password_file: Path | None = None
    password: str = field(default="", repr=False)
    tls: bool = False
    ca_file: Path | None = None

    @classmethod
    def from_url(cls, url: str, password_file: Path | None = None, ca_file: Path | None = None) -> Broker:
        """From amqp[s]://USER[:PASSWORD]@HOST[:PORT]/VHOST. Raises Misconfigured."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname or port == 0:
            raise Misconfigured(
                "the broker's URL is not of the form amqp://USER@HOST:PORT/VHOST", todo="Write [broker] url so."
            )
        tls = parts.scheme == "amqps"
        return cls(
            host=parts.hostname,
            port=port or (5671 if tls else 5672),
            vhost=unquote(parts.path[1:]) or "/",
            user=unquote(parts.username or "bmid"),
            password_file=password_file,
            password=unquote(parts.password or ""),
            tls=tls,
            ca_file=ca_file,
        )

    def parameters(self, name: str) -> ConnectionParameters:
        """For a connection that the broker shows as `name`. Raises Misconfigured."""
        password = self.password
        if self.password_file is not None:
            try:
                password = self.password_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise Misconfigured(
                    f"the broker's password file {self.password_file} can't be read",
                    todo="Put the password there, readable for bmid alone.",
                ) from error
        return ConnectionParameters(
            host=self.host,
            port=self.port,
            virtual_host=self.vhost,
            credentials=PlainCredentials(self.user, password, erase_on_connect=True),
            heartbeat=HEARTBEAT,
            blocked_connection_timeout=BLOCKED_TIMEOUT,
            stack_timeout=STACK_TIMEOUT,
            socket_timeout=STACK_TIMEOUT,
            connection_attempts=1,
            ssl_options=self._tls(),
            client_properties={"connection_name": name, "product": "bmid"},
        )

    def _tls(self) -> SSLOptions | None:
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(
                f"the broker's CA file {self.ca_file} can't be used",
                todo="Put the CAs there, as PEM and readable for bmid, or leave [broker] ca_file out.",
            ) from error
        return SSLOptions(context, self.host)
