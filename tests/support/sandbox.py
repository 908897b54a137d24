"""Sandboxes of a test's own: the real command, on a virtual host of the shared broker, ended in any case."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bmi_publish import BOOTED, Client, Result
from bmid.messages.base import Command
from lab.process import Process
from lab.rabbitmq import RabbitMQ
from tests.support.bmid import make_vhost

__all__ = ["Sandbox", "sandbox"]

BMID = Path(sys.executable).parent / "bmid"
READY = "up and running"


class Sandbox:
    """One sandbox's process. `before` is the command that bmid is started by, `environment` is laid over the test's."""

    def __init__(
        self,
        folder: Path,
        rabbitmq: RabbitMQ,
        *options: str | Path,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str | Path] = (),
    ) -> None:
        self._rabbitmq = rabbitmq
        self.vhost = f"sandbox-{secrets.token_hex(3)}"
        self.broker = make_vhost(rabbitmq, self.vhost)
        self.folder = folder / self.vhost
        argv = [*before, BMID, "run", "--sandbox", "--broker", self.broker, *options]
        self.process = Process("sandbox", self.folder, argv, env={"BMID_ENGINE__WORKERS": "4", **(environment or {})})

    def start(self) -> None:
        """Returns when it says that it is up."""
        said = self.log.count(READY)
        self.process.start()
        self.process.wait_for(lambda: self.log.count(READY) > said, 90, "its greeting")

    @property
    def log(self) -> str:
        """All that it said."""
        return self.process.log.read_text() if self.process.log.exists() else ""

    @property
    def url(self) -> str:
        """The broker, as one who uses it."""
        return f"{self._rabbitmq.url('alice').rpartition('/')[0]}/{self.vhost}"

    def do(self, *commands: Command, booted: bool = False, timeout: float = 40) -> list[Result]:
        """Send commands side by side, and wait for their ends, or for the boots that follow."""
        with Client(self.url, source="/tests") as client:
            return client.wait_all([client.ticket(one) for one in commands], timeout, until=BOOTED if booted else None)

    def did(self, *commands: Command, booted: bool = False) -> list[Result]:
        """The same, one after the other; all must go well."""
        results = [result for command in commands for result in self.do(command, booted=booted)]
        assert all(result.ok for result in results), (results, self.process.tail())
        return results


@contextmanager
def sandbox(
    folder: Path,
    rabbitmq: RabbitMQ,
    *options: str | Path,
    environment: Mapping[str, str] | None = None,
    before: Sequence[str | Path] = (),
) -> Iterator[Sandbox]:
    """One that is up, and its end. Its log is kept with the test's folder."""
    made = Sandbox(folder, rabbitmq, *options, environment=environment, before=before)
    try:
        made.start()
        yield made
    finally:
        made.process.stop(grace=15)
        rabbitmq.ctl("delete_vhost", made.vhost)


def without_tools(folder: Path) -> dict[str, str]:
    """An environment in which there is no program and no Ceph: an empty PATH, and imports of rados and rbd fail."""
    folder.mkdir()
    shutil.copy(Path(__file__).parent / "no_ceph.py", folder / "sitecustomize.py")
    folder.chmod(0o755)
    return {"PATH": str(folder), "PYTHONPATH": str(folder), "HOME": "/nonexistent"}
