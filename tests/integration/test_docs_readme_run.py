"""What the documents show is run as it stands, on a sandbox: whoever copies it gets what it promises."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from bmi_publish import settings
from bmid.handlers.register_node import NodePower, RegisterNode
from lab.rabbitmq import RabbitMQ
from tests.support.document import Line, blocks, commands, scripts
from tests.support.sandbox import BMID, Sandbox, sandbox

ROOT = Path(__file__).parents[2]
README = ROOT / "bmi-publish" / "README.md"
SANDBOX = ROOT / "docs" / "sandbox.md"
START = "bmid run --sandbox"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@example\n"
MESSAGE = {"type": "bmi.node.map.v1", "data": {"project": "p1", "node": "n40", "image": "debian-12"}}
# Files that the reader has.
FILES = {
    "debian-12.qcow2": "a disk, they say",
    "message.json": json.dumps(MESSAGE),
    "id_ed25519.pub": PUBLIC_KEY,
    ".ssh/id_ed25519.pub": PUBLIC_KEY,
    "user-data.yaml": "#cloud-config\npackages: [vim]\n",
    "user-data": "#cloud-config\npackages: [vim]\n",
}


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """The folder that somebody who reads works in: files that are spoken of are there."""
    home = tmp_path / "home"
    for name, content in FILES.items():
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return home


@pytest.fixture
def example(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Sandbox]:
    """A site with p1, debian-12 and nodes."""
    with sandbox(tmp_path, rabbitmq, "--example", "--boot-delay", "0.5") as site:
        yield site


def environment(site: Sandbox, home: Path) -> dict[str, str]:
    """The variables of one who works with this site."""
    path = f"{BMID.parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "BMI_URL": site.url, "COLUMNS": "120", "LC_ALL": "C.UTF-8"}


class Typed:
    """A command in a terminal of its own; gone in any case at its end."""

    def __init__(self, line: Line, site: Sandbox, home: Path) -> None:
        self.line = line
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed at its own end
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", f"exec {line.text}" if line.endless else line.text],
            env=environment(site, home),
            cwd=home,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._output.close()

    def shown(self) -> str:
        """What was typed, and all that came of it."""
        self._output.seek(0)
        return f"{self.line.text}: {self.process.poll()}\n{self._output.read()}"


def run_all(lines: list[Line], site: Sandbox, home: Path) -> None:
    """One command after the other, each of which must end as it says; what has no end is left on meanwhile, as in
    another terminal, and interrupted when all others are through."""
    with ExitStack() as stack:
        began = time.monotonic()
        endless = [stack.enter_context(Typed(line, site, home)) for line in lines if line.endless]
        for line in (one for one in lines if not one.endless):
            with Typed(line, site, home) as typed:
                assert typed.process.wait(120) == line.code, f"{typed.shown()}\n{site.log}"
        time.sleep(max(0.0, began + 4 - time.monotonic()))  # an interrupt while it starts is another matter
        for typed in endless:
            assert typed.process.poll() is None, typed.shown()
            typed.process.send_signal(signal.SIGINT)
            typed.process.wait(20)
            assert "Traceback" not in typed.shown(), typed.shown()


def test_the_python_of_the_readme_runs(example: Sandbox, reader: Path) -> None:
    """All blocks in their order, as one script, on a site with the project, image and nodes that they speak of."""
    file = reader / "readme.py"
    file.write_text("\n".join(scripts(README)))
    variables = environment(example, reader)
    words = [sys.executable, str(file)]
    done = subprocess.run(words, env=variables, cwd=reader, check=False, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{example.log}"
    assert "n1 has booted" in done.stdout


def test_the_commands_of_the_readme_run(rabbitmq: RabbitMQ, tmp_path: Path, reader: Path) -> None:
    """One after the other, on a site with 39 more nodes than they register themselves."""
    lines = commands(README)
    assert len(lines) > 5
    with sandbox(tmp_path, rabbitmq, "--boot-delay", "0.5") as site:
        power = [NodePower(driver="redfish", address=f"https://bmc{number}", credential="bmc") for number in range(41)]
        nodes = (RegisterNode(node=f"n{n}", macs=(f"02:00:00:00:02:{n:02x}",), power=power[n]) for n in range(2, 41))
        assert all(result.ok for result in site.do(*nodes))
        run_all(lines, site, reader)


def test_the_walk_through_the_sandbox_leads_where_it_says(rabbitmq: RabbitMQ, tmp_path: Path, reader: Path) -> None:
    """The document's own start, and its commands in their order."""
    lines = commands(SANDBOX)
    start = lines.pop(0).text
    assert start.startswith(START)
    with sandbox(tmp_path, rabbitmq, *shlex.split(start.removeprefix(START))) as site:
        run_all(lines, site, reader)


def test_what_is_only_a_form_has_the_form() -> None:
    """JSON is JSON, and settings are settings that there are."""
    forms = [text for document in (README, SANDBOX) for text in blocks(document, "toml")]
    assert forms
    for text in forms:
        assert set(tomllib.loads(text)) <= set(settings.KEYS)
    for text in (text for document in (README, SANDBOX) for text in blocks(document, "json")):
        json.loads(text)
