"""The web server around the application: sockets, limits against slow and garbled clients, start and stop.

Threads are the daemon's: `serve` blocks in one of them, `stop` is called from another.
"""

from __future__ import annotations

import asyncio
import socket

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from bmid.errors import Misconfigured
from bmid.http.linger import Lingering

__all__ = ["HttpServer"]

log = structlog.get_logger(__name__)

HEADER_TIMEOUT = 10.0
MAX_CONNECTIONS = 256
MAX_REQUESTS = 64
STOP_GRACE = 0.4


class _Guarded(H11Protocol):
    """uvicorn has no limit of its own for how long a request's head may take, nor for idle connections."""

    _hurry: asyncio.TimerHandle | None = None

    @property
    def limit_concurrency(self) -> int | None:
        """Requests under way, and not connections, which uvicorn counts by the same limit: else 64 of those that say
        nothing would have everybody else sent away."""
        return MAX_REQUESTS if len(self.tasks) >= MAX_REQUESTS else None

    @limit_concurrency.setter
    def limit_concurrency(self, value: int | None) -> None:
        """Not uvicorn's."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._hurry = self.loop.call_later(HEADER_TIMEOUT, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._hurry is not None:
            self._hurry.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        # Every answer closes its connection, so this is about its one and only request.
        if self.cycle is None:
            self.transport.abort()


class HttpServer:
    """Serves one application on one address. Port 0 takes a free one; `port` says which."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        """Bind the address. Raises Misconfigured where it can't be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
        except OSError as error:
            todo = "choose another address, or stop what listens there"
            raise Misconfigured(f"HTTP can't listen on {host}:{port}: {error.strerror or error}", todo=todo) from error
        self.host = host
        self.port = int(self._socket.getsockname()[1])
        self._stopping = False
        config = uvicorn.Config(
            Lingering(app),
            http=_Guarded,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            headers=[("Connection", "close")],
            h11_max_incomplete_event_size=16 * 1024,
        )
        config.timeout_graceful_shutdown = STOP_GRACE  # type: ignore[assignment] # it is given to asyncio.wait_for
        self._server = uvicorn.Server(config)

    def serve(self) -> None:
        """Serve until `stop`. Blocks; call it once."""
        if self._stopping:
            self._socket.close()
            return
        log.info("http.started", host=self.host, port=self.port)
        asyncio.run(self._server.serve(sockets=[self._socket]))
        log.info("http.stopped")

    def stop(self) -> None:
        """Have `serve` return within a second; transfers under way are broken off. From any thread."""
        self._stopping = True
        self._server.should_exit = True
