"""Talking to a running QEMU over its monitor socket (QMP); what to tell it is known by lab/node.py."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any, TextIO

from lab.process import LabError


class Monitor:
    """The monitor that listens on the socket at `path`; one conversation at a time, so each command is one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def command(self, name: str, **arguments: Any) -> Any:
        """What QEMU answers. Raises LabError when it refuses, OSError when it is not there or silent for 60 s."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            self._connect(connection)
            with connection.makefile("rw") as stream:
                stream.readline()  # its greeting
                _ask(stream, {"execute": "qmp_capabilities"})
                return _ask(stream, {"execute": name, "arguments": arguments})

    def _connect(self, connection: socket.socket) -> None:
        """The socket is in the file system a moment before QEMU listens on it."""
        end = time.monotonic() + 3
        while True:
            try:
                connection.connect(str(self._path))
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
            else:
                return


def _ask(stream: TextIO, question: dict[str, Any]) -> Any:
    stream.write(json.dumps(question) + "\n")
    stream.flush()
    answer = json.loads(stream.readline())
    while "event" in answer:
        answer = json.loads(stream.readline())
    if "error" in answer:
        raise LabError(f"qemu: {question['execute']}: {answer['error']['desc']}")
    return answer["return"]
