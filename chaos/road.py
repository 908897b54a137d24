"""TCP connections that can be cut, held up and slowed: small proxies, all in one thread.

A road also gives connections another source address: nodes of this machine so come from the addresses that targets
expect. What is spoken on a road is not known here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Road", "Roads"]

Where = Callable[[], tuple[str, int] | None]
CHUNK = 1 << 16


class Road:
    """One proxy on a port of its own. `where` is asked at each connection; None: nobody is there. The methods that
    change it may be called from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, where: Where, source: str | None) -> None:
        self._loop = loop
        self._where = where
        self._source = source
        self._ends: set[asyncio.StreamWriter] = set()
        self._passable = asyncio.Event()
        self._passable.set()
        self._closed = False
        self._delay = 0.0
        self._server: asyncio.Server | None = None
        self.port = 0

    def cut(self) -> None:
        """All connections end, and new ones are refused, until `mend`."""
        self._closed = True
        self._loop.call_soon_threadsafe(self._abort)

    def sever(self) -> None:
        """All connections end; new ones are taken."""
        self._loop.call_soon_threadsafe(self._abort)

    def hold(self) -> None:
        """Connections stay, and nothing passes, until `mend`."""
        self._loop.call_soon_threadsafe(self._passable.clear)

    def slow(self, seconds: float) -> None:
        """Everything passes so much later, until `mend`."""
        self._delay = seconds

    def mend(self) -> None:
        """As it was."""
        self._closed, self._delay = False, 0.0
        self._loop.call_soon_threadsafe(self._passable.set)

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End it."""
        if self._server is not None:
            self._server.close()
        self._passable.set()
        self._abort()

    def _abort(self) -> None:
        for writer in list(self._ends):
            writer.transport.abort()

    async def _carry(self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self._ends.add(near)
        far: asyncio.StreamWriter | None = None
        try:
            where = None if self._closed else self._where()
            if where is None:
                near.transport.abort()
                return
            local = (self._source, 0) if self._source else None
            far_in, far_out = await asyncio.wait_for(asyncio.open_connection(*where, local_addr=local), 10)
            far = far_out
            self._ends.add(far_out)
            await asyncio.gather(self._pump(near_in, far_out), self._pump(far_in, near))
        except (OSError, TimeoutError):
            pass
        finally:
            for end in (near, far):
                if end is not None:
                    self._ends.discard(end)
                    end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._passable.wait()
            writer.write(data)
            await writer.drain()
        # One end has said its last: what it sent has been passed on, and the other end is told.
        raise ConnectionResetError


class Roads:
    """All roads of a site."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="roads", daemon=True)
        self._roads: list[Road] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def road(self, where: Where, source: str | None = None) -> Road:
        """A new one, open."""
        road = Road(self._loop, where, source)
        asyncio.run_coroutine_threadsafe(road.open(), self._loop).result(10)
        self._roads.append(road)
        return road

    def drop(self, road: Road) -> None:
        """One that is needed no longer."""
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(road.close(), self._loop).result(10)
        self._roads.remove(road)

    def stop(self) -> None:
        """End all of them."""
        if not self._thread.is_alive():
            return
        for road in list(self._roads):
            self.drop(road)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
