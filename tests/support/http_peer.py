"""An HTTP server that a test answers by itself, on a port of its own."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["HttpPeer"]


class HttpPeer:
    """Serves with the handler until it is closed. `address` is where, with the path given."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], path: str) -> None:
        handler.log_message = lambda *_: None  # type: ignore[method-assign]
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}{path}"
        threading.Thread(target=self._http.serve_forever).start()

    def close(self) -> None:
        """Serve no more."""
        self._http.shutdown()
        self._http.server_close()
