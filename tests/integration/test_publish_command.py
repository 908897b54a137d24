"""bmi-publish as its user meets it: words in; data, errors and exit codes out."""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from bmi_publish.cli import root
from bmid.errors import Problem
from bmid.messages.envelope import Envelope
from lab.process import free_port
from lab.rabbitmq import RabbitMQ
from tests.support.command_line import Run
from tests.support.fake_bmid import Event, FakeBmid, does_it, fails, rejects
from tests.support.follower import Follower

MAP = ("node", "map", "n1", "--image", "debian-12", "--wait")


def test_a_command_that_is_done_ends_with_0_and_its_data_on_standard_output(run: Run, bmid: FakeBmid) -> None:
    result = run(*MAP, "-o", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert (shown["node"], shown["state"], shown["operation"]) == ("n1", "done", "op1")
    assert shown["data"]["disk"] == "d1"
    asked = {"project": "p1", "node": "n1", "image": "debian-12", "force": False}
    assert asked.items() <= bmid.commands[0].data.items()


def test_every_format_shows_the_same(run: Run, bmid: FakeBmid) -> None:
    assert yaml.safe_load(run(*MAP, "-o", "yaml").stdout)["state"] == "done"
    assert run(*MAP, "-o", "value", "-c", "node", "-c", "data.disk").stdout == "n1\td1\n"
    head, row = run(*MAP).stdout.splitlines()
    assert head.split() == ["NODE", "STATE", "OPERATION", "DETAIL"]
    assert row.split()[:2] == ["n1", "done"]


def test_without_wait_it_ends_when_the_broker_has_the_command(run: Run, bmid: FakeBmid) -> None:
    bmid.deaf = True
    result = run("node", "map", "n1", "--image", "i", "--idempotency-key", "k1", "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"node": "n1", "message": "k1", "correlation": "k1"}


def test_a_failure_ends_with_1_and_says_what_was_undone_and_what_to_do(run: Run, bmid: FakeBmid) -> None:
    bmid.answer = fails(undone=["clone-disk"], step="export-disk")
    result = run(*MAP, "-o", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["state"] == "failed"
    assert result.stderr.splitlines() == [
        "n1: failed: Disk full: the pool is full",
        "  failed step: export-disk",
        "  undone: clone-disk",
        "  next: Add a disk.",
    ]


def test_a_refusal_and_a_rejection_end_with_65_and_missing_rights_with_77(run: Run, bmid: FakeBmid) -> None:
    for answer, code in ((fails(refused=True), 65), (rejects("unknown-field"), 65), (rejects("not-allowed"), 77)):
        bmid.answer = answer
        result = run(*MAP)
        assert result.exit_code == code
        assert "next: " in result.stderr


def test_what_is_still_running_at_the_timeout_ends_with_75(run: Run, bmid: FakeBmid) -> None:
    bmid.pace = 60
    result = run(*MAP, "--timeout", "4s", "-o", "value", "-c", "state")
    assert (result.exit_code, result.stdout) == (75, "running\n")


def test_a_broker_that_is_not_there_ends_with_69(run: Run) -> None:
    result = run(*MAP, "--timeout", "2s", env={"BMI_URL": f"amqp://127.0.0.1:{free_port()}/bmi"})
    assert result.exit_code == 69
    assert result.stdout == ""
    assert "can't be reached" in result.stderr


def test_errors_are_ours_alone_and_no_stack_of_calls(tmp_path: Path) -> None:
    environment = {**os.environ, "BMI_URL": f"amqp://127.0.0.1:{free_port()}/bmi", "XDG_CONFIG_HOME": str(tmp_path)}
    command = [str(Path(sys.executable).with_name("bmi-publish")), "node", "list", "--timeout", "2"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (69, "")
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["Error:", "next:"]


def test_a_wrong_password_ends_with_77_and_is_never_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("hunter2-is-wrong")
    result = run(*MAP, env={"BMI_PASSWORD_FILE": str(tmp_path / "wrong")})
    assert result.exit_code == 77
    assert "hunter2" not in result.output


def test_a_range_is_a_command_for_each_name_and_ends_with_the_highest_code(run: Run, bmid: FakeBmid) -> None:
    def answer(command: Envelope, operation: str) -> list[Event]:
        return (fails(refused=True) if command.data["node"] == "n03" else does_it)(command, operation)

    bmid.answer = answer
    result = run("node", "map", "n[01-05]", "--image", "i", "--wait", "--idempotency-key", "k", "-o", "json")
    assert result.exit_code == 65
    rows = json.loads(result.stdout)
    assert [(row["node"], row["state"]) for row in rows] == [
        ("n01", "done"), ("n02", "done"), ("n03", "refused"), ("n04", "done"), ("n05", "done"),
    ]  # fmt: skip
    assert [row["message"] for row in rows] == [f"k:n0{number}" for number in range(1, 6)]
    assert len({row["correlation"] for row in rows}) == 1
    assert result.stderr.startswith("n03: refused: ")


def test_nested_fields_lists_and_labels_become_options(run: Run, bmid: FakeBmid) -> None:
    words = ("--mac", "52:54:00:00:00:01", "--mac", "52:54:00:00:00:02", "--label", "rack=r1", "--label", "row=7")
    power = ("--power-driver", "redfish", "--power-address", "https://bmc1", "--power-credential", "bmc")
    assert run("node", "register", "n1", *words, *power, "--wait").exit_code == 0
    data = bmid.commands[0].data
    assert data["macs"] == ["52:54:00:00:00:01", "52:54:00:00:00:02"]
    assert data["labels"] == {"rack": "r1", "row": "7"}
    assert data["power"] == {"driver": "redfish", "address": "https://bmc1", "credential": "bmc"}


def test_waiting_for_the_boot_ends_with_how_it_went(run: Run, bmid: FakeBmid) -> None:
    boot = {"project": "p1", "node": "n1", "disk": "d1", "attempt": 2, "stage": "firmware", "todo": "Look at it."}
    bmid.answer = lambda command, operation: [*does_it(command, operation), ("bmi.node.boot-failed.v1", boot)]
    result = run("node", "map", "n1", "--image", "i", "--booted")
    assert result.exit_code == 1
    assert "firmware" in result.stderr
    assert "next: Look at it." in result.stderr


def test_wrong_words_end_with_2_and_nothing_is_sent(run: Run, bmid: FakeBmid) -> None:
    for words in (
        ("node", "map", "N1!", "--image", "i"),
        ("node", "map", "n1"),
        ("node", "map", "n[1-", "--image", "i"),
        ("node", "map", "n1", "--image", "i", "--timeout", "soon"),
        ("node", "fly", "n1"),
        ("--url", "amqp://alice:hunter2@localhost/bmi", "node", "list"),
    ):
        result = run(*words)
        assert result.exit_code == 2, words
        assert "hunter2" not in result.output
    assert run("node", "map", "n1", "--image", "i", env={"BMI_PROJECT": ""}).exit_code == 2
    assert bmid.commands == []


def test_queries_are_shown_as_a_list_or_one_by_one(run: Run, bmid: FakeBmid) -> None:
    image = {"image": "debian-12", "size": 3 << 30, "firmware": ["bios", "uefi"], "sha256": "0" * 64}
    bmid.results["bmi.image.list.v1"] = {"images": [image, {**image, "image": "tiny", "size": 1000}]}
    bmid.results["bmi.image.show.v1"] = {"image": image}
    assert run("image", "list").stdout.splitlines() == [
        "IMAGE      SIZE     FIRMWARE",
        "debian-12  3.0 GiB  bios,uefi",
        "tiny       1000 B   bios,uefi",
    ]
    assert (
        run("image", "list", "-o", "value", "-c", "image", "-c", "size").stdout == "debian-12\t3221225472\ntiny\t1000\n"
    )
    assert json.loads(run("image", "show", "debian-12", "-o", "json").stdout) == image
    assert "FIRMWARE  bios,uefi" in run("image", "show", "debian-12").stdout
    assert bmid.asked[0].data["project"] == "p1"


def test_a_query_with_a_problem_ends_with_1_and_one_without_an_answer_with_69(run: Run, bmid: FakeBmid) -> None:
    bmid.problems["bmi.node.show.v1"] = Problem.of("node-unknown", "there is no node n9", todo="List them.")
    result = run("node", "show", "n9")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no node n9" in result.stderr
    bmid.deaf = True
    assert run("node", "list", "--timeout", "1").exit_code == 69


def test_a_raw_message_is_sent_as_it_is_and_waited_for(run: Run, bmid: FakeBmid) -> None:
    odd = {"specversion": "1.0", "id": "m1", "source": "/odd", "type": "bmi.node.map.v1", "data": {"nonsense": [1]}}
    bmid.answer = rejects("unknown-field")
    assert run("send", "-", "--wait", input=json.dumps(odd)).exit_code == 65
    assert (bmid.commands[0].id, bmid.commands[0].source, bmid.commands[0].data) == ("m1", "/odd", {"nonsense": [1]})
    bmid.answer = lambda command, operation: [
        ("bmi.operation.accepted.v1", {"operation": operation}),
        ("bmi.thing.done.v1", {"operation": operation, "thing": "t"}),
    ]
    result = run("send", "-", "--wait", "-o", "value", "-c", "data.thing", input='{"type": "bmi.thing.do.v1"}')
    assert (result.exit_code, result.stdout) == (0, "t\n")
    assert run("send", "-", input="[1]").exit_code == 2


def test_the_installed_command_answers_at_once() -> None:
    """Measured in time on a processor, because others may use this machine too."""
    command = [str(Path(sys.executable).with_name("bmi-publish")), "--help"]
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert "Exit codes: 0 done" in done.stdout
    assert min(times) < 1, times


@pytest.mark.parametrize(("node", "words"), [("n1", "n1 accepted"), ("n[1-20]", "20 commands")])
def test_a_terminal_gets_progress_on_standard_error_and_data_stays_clean(
    rabbitmq: RabbitMQ, bmid: FakeBmid, tmp_path: Path, node: str, words: str
) -> None:
    bmid.pace = 1.5
    shown, terminal = pty.openpty()
    environment = {**os.environ, "BMI_URL": rabbitmq.url("alice"), "XDG_CONFIG_HOME": str(tmp_path), "TERM": "xterm"}
    command = [str(Path(sys.executable).with_name("bmi-publish")), "node", "map", node, "--project", "p1"]
    command += ["--image", "i", "--wait", "-o", "value", "-c", "state"]
    done = subprocess.run(command, env=environment, stdout=-1, stderr=terminal, text=True, timeout=60, check=True)
    os.set_blocking(shown, False)
    told = b""
    with suppress(BlockingIOError):
        while piece := os.read(shown, 1 << 20):
            told += piece
    assert words in told.decode()
    assert set(done.stdout.split()) == {"done"}
    os.close(shown)
    os.close(terminal)


def test_an_interrupt_ends_with_130_and_says_what_goes_on(rabbitmq: RabbitMQ, bmid: FakeBmid) -> None:
    bmid.deaf = True
    with Follower(rabbitmq.url("alice"), "node", "list", "--timeout", "60") as question:
        question.until(lambda: bmid.asked)
        assert question.interrupt() == 130
    assert question.told == []
    with Follower(rabbitmq.url("alice"), *MAP, "--project", "p1", "--idempotency-key", "k1") as command:
        command.until(lambda: bmid.commands)
        assert command.interrupt() == 130
    assert command.told == ["Interrupted; what was sent goes on: k1"]


def test_no_password_is_among_the_options() -> None:
    for words in ((), ("send",), ("node", "map"), ("image", "upload")):
        shown = CliRunner().invoke(root, [*words, "--help"]).stdout
        assert "--password" not in shown
        assert "--token" not in shown
