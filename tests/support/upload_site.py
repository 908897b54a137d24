"""The HTTP server on a free port, with what stands behind it in the hands of the test."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bmid.errors import TransientError
from bmid.http.app import build
from bmid.http.server import HttpServer
from bmid.steps.export import identity

TOKEN = "token-that-nobody-may-see"


@dataclass(frozen=True)
class Slot:
    path: Path
    limit: int = 1000
    complete: bool = False
    token_sha256: str = hashlib.sha256(TOKEN.encode()).hexdigest()


@dataclass
class FakeUploads:
    """Uploads that are awaited, and those that were reported as whole."""

    slots: dict[str, Slot] = field(default_factory=dict)
    completed: list[tuple[str, int]] = field(default_factory=list)
    away: bool = False

    def find(self, operation: str) -> Slot | None:
        if self.away:
            raise TransientError("database-away", "the database is away")
        return self.slots.get(operation)

    def complete(self, operation: str, size: int) -> None:
        self.completed.append((operation, size))


@dataclass(frozen=True)
class Exported:
    folder: Path
    name: str
    identity: Sequence[int]
    sha256: str
    token_sha256: str = hashlib.sha256(TOKEN.encode()).hexdigest()


@dataclass
class FakeDownloads:
    """Files that may be fetched."""

    slots: dict[str, Exported] = field(default_factory=dict)
    away: bool = False

    def find(self, operation: str) -> Exported | None:
        if self.away:
            raise TransientError("database-away", "the database is away")
        return self.slots.get(operation)


class FakeHealth:
    def __init__(self) -> None:
        self.state = {"database": "ok", "broker": "ok"}

    def report(self) -> dict[str, str]:
        return self.state


class Site:
    """A running server, and what stands behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uploads = FakeUploads({"op-1": Slot(folder / "op-1.upload")})
        self.health = FakeHealth()
        self.downloads = FakeDownloads()
        app = build(self.uploads, self.health, lambda: b"a_metric 1\n", self.downloads)
        self.server = HttpServer(app, "127.0.0.1", 0)
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.wait_for(lambda: self.server._server.started)

    @property
    def path(self) -> Path:
        return self.folder / "op-1.upload"

    def allow(self, limit: int, complete: bool = False) -> None:
        self.uploads.slots["op-1"] = Slot(self.path, limit, complete)

    def put(
        self, content: object, operation: str = "op-1", token: str | None = TOKEN, **headers: str
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        return httpx.put(f"{self.url}/v1/uploads/{operation}", content=content, headers=named, timeout=30)

    def export(self, content: bytes, operation: str = "op-1", name: str = "debian.qcow2") -> Path:
        """A file that an operation has exported."""
        path = self.folder / name
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        self.downloads.slots[operation] = Exported(self.folder, name, identity(path.lstat()), digest)
        return path

    def fetch(
        self, operation: str = "op-1", token: str | None = TOKEN, method: str = "GET", **headers: str
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        return httpx.request(method, f"{self.url}/v1/downloads/{operation}", headers=named, timeout=30)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=20)

    def begin(self, length: int, first: bytes) -> socket.socket:
        """A transfer that has begun and waits."""
        connection = self.connect()
        head = (
            f"PUT /v1/uploads/op-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n"
        )
        connection.sendall(head.encode() + b"\r\n" + first)
        return connection

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def wait_for(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    def close(self) -> None:
        self.server.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


def answer_of(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def problem(response: httpx.Response, status: int, slug: str) -> dict:
    assert response.headers["content-type"] == "application/problem+json"
    content = response.json()
    assert (response.status_code, content["status"], content["type"]) == (status, status, f"urn:bmi:problem:{slug}")
    assert content["todo"]
    return content
