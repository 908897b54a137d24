"""How a sandbox starts: with little, and never where something real is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmid.handlers.map_node import MapNode
from lab.process import LabError, free_port
from lab.rabbitmq import RabbitMQ
from tests.support.sandbox import sandbox, without_tools

MAPPED = MapNode(project="p1", node="n1", image="debian-12")


def refused(rabbitmq: RabbitMQ, tmp_path: Path, *options: str | Path, environment: dict[str, str] | None = None) -> str:
    """What a sandbox that doesn't start says."""
    with pytest.raises(LabError) as caught, sandbox(tmp_path, rabbitmq, *options, environment=environment):
        pass
    return str(caught.value)


def test_a_folder_of_something_else_is_left_alone(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """A state folder of a real bmid is not one to play in."""
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "bmid.db").write_text("precious")
    assert "is not empty, and not a sandbox's" in refused(rabbitmq, tmp_path, "--folder", folder)
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("bmid.db", "precious")]


def test_a_broker_on_which_another_bmid_works_is_left_alone(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """The sandbox would take commands that are meant for real machines."""
    with sandbox(tmp_path, rabbitmq) as site:
        said = refused(rabbitmq, tmp_path, "--broker", site.broker)
    assert "another bmid takes commands from this broker" in said
    assert "virtual host" in said


def test_a_broker_that_is_not_there_is_told_at_once(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """Whoever forgot to start RabbitMQ doesn't wait for nothing; and no password is shown."""
    said = refused(rabbitmq, tmp_path, "--broker", f"amqp://me:hush@127.0.0.1:{free_port()}/")
    assert "can't be reached" in said
    assert "hush" not in said


def test_settings_lead_to_the_broker_and_to_nothing_else_that_is_real(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """Neither a settings file nor a variable makes a sandbox touch a database, a storage or a folder."""
    real = tmp_path / "real"
    config = tmp_path / "bmid.toml"
    config.write_text(
        f"""
        [head]
        state_folder = "{real}/state"
        [database]
        url = "sqlite:///{real}/bmid.db"
        [storage]
        driver = "directory"
        directory.folder = "{real}/storage"
        [images]
        staging_folder = "{real}/staging"
        """
    )
    environment = {
        "BMID_CONFIG": str(config),
        "BMID_DATABASE__URL": f"sqlite:///{real}/other.db",
        "BMID_SEED__FOLDER": f"{real}/seeds",
        "BMID_HTTP__PORT": str(free_port()),
    }
    with sandbox(tmp_path, rabbitmq, "--example", environment=environment) as site:
        site.did(MAPPED)
        assert f"http://127.0.0.1:{environment['BMID_HTTP__PORT']}" in site.log
    assert not real.exists()


def test_without_root_tools_and_ceph_a_node_boots(rabbitmq: RabbitMQ, tmp_path: Path, open_folder: Path) -> None:
    """pip and RabbitMQ are enough: no program is found, and neither Ceph's bindings nor a driver for real things."""
    environment = without_tools(open_folder / "nothing")
    nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    look = [*nobody, sys.executable, "-c", "import rados"]
    seen = subprocess.run(look, env=environment, check=False, capture_output=True)
    assert b"rados is not here" in seen.stderr
    options = ("--example", "--boot-delay", "0")
    with sandbox(tmp_path, rabbitmq, *options, environment=environment, before=nobody) as site:
        assert os.stat(f"/proc/{site.process.pid}").st_uid == 65534
        site.did(MAPPED, booted=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
