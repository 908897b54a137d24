"""bmi-publish against a real bmid: from an empty site to mapped nodes and back, in the words of a user."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bmi_publish.cli import root
from tests.support.bmid import House
from tests.support.image import bios_disk

Run = Callable[..., Result]


@pytest.fixture
def run(folder_house: House, tmp_path: Path) -> Run:
    (tmp_path / "bmi").mkdir()
    settings = tmp_path / "bmi" / "config.toml"
    settings.write_text(f'url = "{folder_house.url("alice")}"\nproject = "words"\n')
    settings.chmod(0o600)

    def invoke(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(root, words, env={"XDG_CONFIG_HOME": str(tmp_path)})
        assert result.exit_code == code, result.output
        return result

    return invoke


def test_a_user_goes_all_the_way_and_back(run: Run, folder_house: House, tmp_path: Path) -> None:
    file = tmp_path / "tiny.raw"
    file.write_bytes(bios_disk())
    run("project", "create", "words", "--wait")
    run("image", "upload", str(file), "--name", "tiny", "--wait")
    assert run("image", "list", "-o", "value", "-c", "image", "-c", "state").stdout == "tiny\tready\n"
    again = run("image", "upload", str(file), "--name", "tiny", "--wait", code=65)
    assert "next: Remove it first" in again.stderr
    with folder_house.nothing_left():
        for number in (1, 2, 3):
            run("node", "register", f"w{number}", "--mac", f"52:54:00:77:00:0{number}", "--label", "rack=r1", "--wait")
        rows = json.loads(run("node", "map", "w[1-3]", "--image", "tiny", "--wait", "-o", "json").stdout)
        assert [row["state"] for row in rows] == ["done"] * 3
        assert len({row["data"]["disk"] for row in rows}) == 3
        shown = json.loads(run("node", "show", "w2", "-o", "json").stdout)
        assert (shown["state"], shown["disk"], shown["labels"]) == ("mapped", rows[1]["data"]["disk"], {"rack": "r1"})
        phase = run("operation", "show", rows[0]["operation"], "-o", "value", "-c", "phase")
        assert phase.stdout == "succeeded\n"
        assert rows[0]["data"]["disk"] in run("image", "remove", "tiny", "--wait", code=65).stderr
        run("node", "unmap", "w[1-3]", "--wait")
        run("node", "remove", "w[1-3]", "--wait")
    run("image", "remove", "tiny", "--wait")
    run("project", "remove", "words", "--wait")


def test_the_same_key_again_is_answered_and_other_content_under_it_is_rejected(run: Run) -> None:
    words = ("--idempotency-key", "publish-daemon-1", "--wait", "-o", "value", "-c", "operation")
    first = run("project", "create", "keyed", *words).stdout
    assert run("project", "create", "keyed", *words).stdout == first
    run("project", "remove", "keyed", *words, code=65)
    run("project", "remove", "keyed", "--wait")


def test_what_the_state_refuses_is_told_with_what_to_do(run: Run) -> None:
    result = run("node", "map", "w9", "--image", "tiny", "--project", "nowhere", "--wait", code=65)
    assert "there is no project nowhere" in result.stderr
    assert "next: Create it: bmi-publish project create nowhere" in result.stderr
    assert "there is no node w9" in run("node", "show", "w9", code=1).stderr


def test_a_raw_message_that_makes_no_sense_is_rejected_with_reasons(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "message.json"
    file.write_text('{"type": "bmi.node.map.v1", "data": {"project": "p", "node": "n", "image": "i", "imgae": "j"}}')
    assert "imgae" in run("send", str(file), "--wait", code=65).stderr
    file.write_text('{"type": "bmi.node.mapp.v1", "data": {}}')
    assert "Did you mean bmi.node.map.v1?" in run("send", str(file), "--wait", code=65).stderr
