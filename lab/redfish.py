"""The BMC of a lab: a small Redfish service that powers virtual nodes, one system for each node folder.

    python -m lab.redfish --nodes FOLDER --port 8001 --credentials FILE     (FILE: one line, user:password)

Its state is the folders of the nodes (lab/node.py): killed and started again it finds them as they are, and nodes run
on meanwhile. It listens on the loopback, or on one address of this machine. Systems behave badly on demand, which
takes no authentication:

    POST /lab/faults/n1 {"hang": 30}              every answer about n1 comes 30 s late
                        {"lie": true}             says that it switched, and doesn't
                        {"refuse": true}          refuses to switch or to change the boot device (500)
                        {"accept_for_ever": true} accepts to switch (202), and never does
                        {}                        behaves again
    GET  /lab/load                                {"most_at_once": 3}: requests served side by side so far

What it answers is lab/bmc.py.
"""

from __future__ import annotations

import argparse
import json
import secrets
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lab.bmc import Answer, Node, Service
from lab.node import VirtualNode
from lab.place import write_private
from lab.process import LabError, Process, free_port


class Redfish:
    """The service as a private process. Its port and credentials are kept in `folder` and stay the same.

    `nodes` is the folder that holds the folders of the nodes; a node that is added later is there at once.
    """

    def __init__(self, folder: Path, nodes: Path, address: str = "127.0.0.1") -> None:
        self._folder = folder.absolute()
        self._nodes = nodes.absolute()
        self.credentials = self._folder / "credentials"
        self._address = address
        self.process = self._process(0)

    @property
    def url(self) -> str:
        """Where the service is, such as http://127.0.0.1:8001. Raises LabError before the first start."""
        return f"http://{self._address}:{self._port}"

    @property
    def user(self) -> str:
        """The user name that it accepts."""
        return self.credentials.read_text().strip().partition(":")[0]

    @property
    def password(self) -> str:
        """The password that it accepts."""
        return self.credentials.read_text().strip().partition(":")[2]

    def system(self, node: str) -> str:
        """The path of a node's system."""
        return f"/redfish/v1/Systems/{node}"

    def start(self) -> None:
        """Start it; returns when it answers. Raises LabError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self.credentials.exists():
            write_private(self.credentials, f"lab:{secrets.token_hex(8)}\n")
        port = self._folder / "port"
        if not port.exists():
            port.write_text(str(free_port(self._address)))
        self.process = self._process(self._port)
        self.process.start()
        self.process.wait_for(self._answers, 60, f"answers at {self.url}")

    def stop(self) -> None:
        """Stop it; nodes stay as they are."""
        self.process.stop(grace=2)

    @property
    def _port(self) -> int:
        file = self._folder / "port"
        if not file.exists():
            raise LabError("redfish: it has no port before it was started once")
        return int(file.read_text())

    def _process(self, port: int) -> Process:
        arguments: list[str | Path] = ["--nodes", self._nodes, "--port", str(port), "--credentials", self.credentials]
        arguments += ["--address", self._address]
        command: list[str | Path] = [sys.executable, "-m", "lab.redfish", *arguments]
        return Process("redfish", self._folder, command, cwd=Path(__file__).parent.parent)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self._address, self._port)) == 0


class Handler(BaseHTTPRequestHandler):
    """HTTP around `Service`: bodies are JSON, connections stay open."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.counted():
            try:
                body = json.loads(raw) if raw else {}
                answer = self.server.answer(self.command, self.path, headers, body)
            except ValueError as error:
                answer = Answer(400, {"error": {"code": "Base.1.8.MalformedJSON", "message": str(error)}})
        text = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", "OData-Version": "4.0", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        if self.close_connection:
            # Said aloud, because sushy asks for it, and would else try the closed connection again and wait 2 s.
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)


class Load:
    """Counts a request while it is served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


class Server(ThreadingHTTPServer):
    """The HTTP server: a thread for each connection, so that a hanging system holds up no other."""

    daemon_threads = True

    def __init__(self, port: int, service: Service, address: str = "127.0.0.1") -> None:
        super().__init__((address, port), Handler)
        self._service = service
        self._load = Load()

    def counted(self) -> Load:
        """Counts what runs inside it."""
        return self._load

    def answer(self, method: str, path: str, headers: dict[str, str], body: dict[str, object]) -> Answer:
        """The service's answer, or the load."""
        if path == "/lab/load":
            return Answer(200, {"most_at_once": self._load.most})
        return self._service.answer(method, path, headers, body)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="A Redfish service for the nodes of a lab.")
    parser.add_argument("--nodes", type=Path, required=True, help="folder with a folder for each node")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--credentials", type=Path, required=True, help="file with one line, user:password")
    options = parser.parse_args()

    def names() -> list[str]:
        return sorted(file.parent.name for file in options.nodes.glob("*/node.json"))

    def find(name: str) -> Node | None:
        return VirtualNode(options.nodes / name) if name in names() else None

    service = Service(names, find, options.credentials.read_text().strip())
    Server(options.port, service, options.address).serve_forever()


if __name__ == "__main__":
    main()
