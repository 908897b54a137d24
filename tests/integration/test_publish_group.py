"""Groups of nodes and dry runs, as the user of bmi-publish meets them."""

from __future__ import annotations

import json

from bmid.errors import Problem
from bmid.messages.envelope import Envelope
from tests.support.command_line import Run
from tests.support.fake_bmid import Event, FakeBmid

MAP = ("node", "map", "n1", "--image", "debian-12", "--wait")


def test_a_group_is_one_command_and_shown_node_by_node(run: Run, bmid: FakeBmid) -> None:
    problem = Problem.of("node-unknown", "there is no node n3").model_dump(mode="json")
    members = [{"node": f"n{number}", "operation": f"o{number}", "phase": "succeeded"} for number in (1, 2)]
    members.append({"node": "n3", "operation": "o3", "phase": "failed", "problem": problem})

    def answer(command: Envelope, operation: str) -> list[Event]:
        end = {"operation": operation, "command": command.type, "project": "p1", "members": members}
        accepted = {"operation": operation, "command": command.type, "project": "p1"}
        return [("bmi.operation.accepted.v1", accepted), ("bmi.group.finished.v1", end)]

    bmid.answer = answer
    words = ("node", "map", "--nodes", "n[1-2]", "--nodes", "n3", "--image", "i", "--wait")
    result = run(*words)
    assert result.exit_code == 1
    assert [line.split()[:3] for line in result.stdout.splitlines()] == [
        ["NODE", "STATE", "OPERATION"], ["n1", "done", "o1"], ["n2", "done", "o2"], ["n3", "failed", "o3"],
    ]  # fmt: skip
    assert "1 of 3 nodes failed: n3: there is no node n3" in result.stderr
    assert [one.data["nodes"] for one in bmid.commands] == [["n1", "n2", "n3"]]
    shown = json.loads(run(*words, "-o", "json").stdout)
    assert (shown["node"], shown["state"], len(shown["data"]["members"])) == ("n[1-2],n3", "failed", 3)
    assert run(*words, "--booted").exit_code == 2


def test_a_dry_run_shows_its_steps(run: Run, bmid: FakeBmid) -> None:
    steps = [{"step": "clone-disk", "stage": 1, "details": {"disk": "d1"}}]

    def answer(command: Envelope, operation: str) -> list[Event]:
        assert command.data["dry_run"] is True
        base = {"operation": operation, "command": command.type, "project": "p1"}
        return [("bmi.operation.planned.v1", {**base, "changed": True, "home": "h1", "steps": steps})]

    bmid.answer = answer
    result = run(*MAP, "--dry-run")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["STAGE", "STEP", "DETAIL"], ["1", "clone-disk", "disk=d1"],
    ]  # fmt: skip
