"""What the documents show is run as it stands, on a sandbox: whoever copies it gets what it promises."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

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


def run(line: Line, site: Sandbox, home: Path) -> None:
    """One command, which must end as it says, or go on until it is interrupted."""
    process = subprocess.Popen(
        ["/bin/bash", "-c", f"exec {line.text}" if line.endless else line.text],
        env=environment(site, home),
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=4 if line.endless else 120)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
        assert line.endless, f"{line.text}\n{output}"
        assert "Traceback" not in output, output
    else:
        assert not line.endless, f"{line.text} ended\n{output}"
        assert process.returncode == line.code, f"{line.text}: {process.returncode}\n{output}\n{site.log}"
    finally:
        process.kill()


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
        site.did(*(RegisterNode(node=f"n{n}", macs=(f"02:00:00:00:02:{n:02x}",), power=power[n]) for n in range(2, 41)))
        for line in lines:
            run(line, site, reader)


def test_the_walk_through_the_sandbox_leads_where_it_says(rabbitmq: RabbitMQ, tmp_path: Path, reader: Path) -> None:
    """The document's own start, and its commands in their order."""
    lines = commands(SANDBOX)
    start = lines.pop(0).text
    assert start.startswith(START)
    with sandbox(tmp_path, rabbitmq, *shlex.split(start.removeprefix(START))) as site:
        for line in lines:
            run(line, site, reader)


def test_what_is_only_a_form_has_the_form() -> None:
    """JSON is JSON, and settings are settings that there are."""
    forms = [text for document in (README, SANDBOX) for text in blocks(document, "toml")]
    assert forms
    for text in forms:
        assert set(tomllib.loads(text)) <= set(settings.KEYS)
    for text in (text for document in (README, SANDBOX) for text in blocks(document, "json")):
        json.loads(text)
