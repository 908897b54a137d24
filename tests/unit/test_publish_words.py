"""The publisher's words: ranges, options from schemas, formats, settings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field

import bmi_publish
from bmi_publish import error
from bmi_publish.error import BadSettings, PublishError
from bmi_publish.option import form_of
from bmi_publish.output import records_of, show
from bmi_publish.parameter import common_options, duration, publish_options
from bmi_publish.settings import load
from bmi_publish.span import expand
from bmi_publish.ticket import envelope_of_raw, new_id
from bmid.handlers.map_node import MapNode
from bmid.handlers.registry import discover
from bmid.messages.base import Command


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[08-10,15]", ["n08", "n09", "n10", "n15"]),
        ("r[1-2]n[1,2]x", ["r1n1x", "r1n2x", "r2n1x", "r2n2x"]),
        ("n[1,1-2]", ["n1", "n2"]),
    ],
)
def test_a_range_is_its_names_in_order_and_once_each(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize("text", ["n[", "n]", "n[]", "n[a-b]", "n[3-1]", "n[1-2", "n[1--2]", "n[1-999999999]", "[[1]]"])
def test_a_wrong_range_is_an_error_and_never_a_name(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        expand(text)


class Inner(BaseModel):
    driver: str
    port: int | None = None


class Odd(Command):
    """Do something odd."""

    type: ClassVar[str] = "bmi.thing.do.v1"
    thing: str
    project: str
    count: int = 3
    factor: float | None = None
    on: bool = True
    force: bool = False
    tags: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    inner: Inner | None = None
    anything: dict[str, Any] | list[int] | None = Field(None, description="whatever it is")


def parse(*words: str) -> dict[str, Any]:
    form = form_of(Odd.model_json_schema(), "thing", "do")
    found: dict[str, Any] = {}
    command = click.Command("do", params=form.parameters(), callback=lambda **values: found.update(form.data(values)))
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    return found


def test_what_is_not_said_is_left_out_of_the_message() -> None:
    assert parse("t1") == {"thing": "t1"}


def test_every_kind_of_field_has_its_option() -> None:
    numbers = ("--count", "4", "--factor", "0.5", "--no-on", "--force")
    words = ("t1", "--project", "p1", *numbers, "--tag", "a", "--tag", "b", "--label", "k=v=w")
    assert parse(*words, "--inner-driver", "d", "--inner-port", "1", "--anything", '{"a": [1]}') == {
        "thing": "t1",
        "project": "p1",
        "count": 4,
        "factor": 0.5,
        "on": False,
        "force": True,
        "tags": ["a", "b"],
        "labels": {"k": "v=w"},
        "inner": {"driver": "d", "port": 1},
        "anything": {"a": [1]},
    }


def test_a_text_that_may_be_long_or_secret_is_taken_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "user-data"
    file.write_text("#cloud-config\npassword: é\n")
    form = form_of(MapNode.model_json_schema(), "node", "map")

    def data(*words: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        command = click.Command("map", params=form.parameters(), callback=lambda **v: found.update(form.data(v)))
        result = CliRunner().invoke(command, ("n1", *words))
        return found if result.exit_code == 0 else {"said": result.output}

    assert data("--user-data", f"@{file}")["user_data"] == file.read_text()
    assert data("--user-data", "#!/bin/sh")["user_data"] == "#!/bin/sh"
    assert f"{file}x: No such file" in data("--user-data", f"@{file}x")["said"]


def test_every_message_of_the_registry_has_a_command_whose_options_do_not_collide() -> None:
    registry = discover()
    messages = [one.command for one in registry.commands.values() if not one.internal]
    messages += [one.query for one in registry.queries.values()]
    ours = [option for parameter in (*publish_options(), *common_options()) for option in parameter.opts]
    for message in messages:
        noun, verb = message.type.split(".")[1:3]
        form = form_of(message.model_json_schema(), noun, verb)
        options = [option for parameter in form.parameters() for option in parameter.opts if option.startswith("-")]
        assert not [option for option in (*options, *ours) if (*options, *ours).count(option) > 1], message.type
        assert {field.path[0] for field in form.fields} == set(message.model_fields), message.type


def shown(capsys: pytest.CaptureFixture[str], *args: Any, **options: Any) -> str:
    show(*args, **options)
    return capsys.readouterr().out


def test_text_of_other_people_can_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, [{"a": "x\x1b[2Jy\nz"}], "table", (), single=False)
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2


def test_an_empty_list_is_no_error_in_any_format(capsys: pytest.CaptureFixture[str]) -> None:
    for form, text in (("json", "[]\n"), ("yaml", "[]\n"), ("value", ""), ("table", "")):
        assert shown(capsys, [], form, (), single=False).strip() == text.strip()


def test_answers_are_lists_or_single_things() -> None:
    assert records_of({"nodes": [{"node": "n1"}]}) == ([{"node": "n1"}], False)
    assert records_of({"node": {"node": "n1"}}) == ([{"node": "n1"}], True)
    assert records_of({"a": 1, "b": 2}) == ([{"a": 1, "b": 2}], True)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1h", 3600)])
def test_a_duration_has_a_unit_or_is_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds


def config(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_arguments_go_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    path = config(tmp_path, 'url = "amqp://file/v"\nuser = "file"\nproject = "file"\npassword = "p/w"\n')
    found = load({"url": "amqp://given/v"}, {"BMI_USER": "environment"}, path)
    assert (found.url, found.user, found.project) == ("amqp://given/v", "environment", "file")
    assert found.address() == "amqp://environment:p%2Fw@given/v"


def test_the_file_lies_where_xdg_says(tmp_path: Path) -> None:
    (tmp_path / "bmi").mkdir()
    config(tmp_path / "bmi", 'project = "p7"\n')
    assert load({}, {"XDG_CONFIG_HOME": str(tmp_path)}).project == "p7"
    (tmp_path / ".config" / "bmi").mkdir(parents=True)
    config(tmp_path / ".config" / "bmi", 'project = "p8"\n')
    assert load({}, {"HOME": str(tmp_path)}).project == "p8"


def test_user_and_password_may_be_in_the_url_but_are_never_shown(tmp_path: Path) -> None:
    found = load({"url": "amqps://u:hunter%202@h:5671/v"}, {}, tmp_path / "none")
    assert (found.user, found.password, found.url) == ("u", "hunter 2", "amqps://h:5671/v")
    assert "hunter" not in repr(found)


@pytest.mark.parametrize(
    ("text", "mode", "word"),
    [
        ('pasword = "hunter2"\n', 0o600, "unknown key pasword"),
        ('password = hunter2\n', 0o600, "config.toml"),
        ('password = "hunter2"\n', 0o604, "everybody may read it"),
        ('url = "amqp://u:hunter2@h/v"\n', 0o604, "everybody may read it"),
        ("project = 7\n", 0o600, "must be text"),
        ('url = "http://u:hunter2@h/v"\n', 0o600, "form amqp://"),
    ],
)  # fmt: skip
def test_settings_that_are_wrong_are_named_without_their_secrets(
    tmp_path: Path, text: str, mode: int, word: str
) -> None:
    with pytest.raises(BadSettings) as caught:
        load({}, {}, config(tmp_path, text, mode))
    assert word in str(caught.value)
    assert "hunter2" not in caught.value.problem.model_dump_json()


def test_ids_sort_by_time_and_are_uuids_of_version_7() -> None:
    ids = [new_id() for _ in range(3)]
    assert all(one[14] == "7" and len(one) == 36 for one in ids)
    assert len(set(ids)) == 3


@pytest.mark.parametrize("content", [{}, {"type": 1}, {"type": "t", "data": []}, {"type": "t", "time": "noon"}])
def test_a_raw_message_must_have_a_type_and_an_object_as_data(content: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        envelope_of_raw(dict(content), "/s")


def test_a_raw_message_keeps_what_it_says_of_itself() -> None:
    content = {"type": "t", "id": "i", "source": "/o", "subject": "x/y", "traceparent": "00-1", "data": {"a": 1}}
    envelope = envelope_of_raw(json.loads(json.dumps(content)), "/s")
    assert (envelope.id, envelope.source, envelope.subject, envelope.traceparent) == ("i", "/o", "x/y", "00-1")


def test_every_error_that_a_caller_may_catch_is_in_the_package() -> None:
    kinds = {name for name, kind in vars(error).items() if isinstance(kind, type) and issubclass(kind, PublishError)}
    assert {name for name in kinds if not hasattr(bmi_publish, name)} == set()


def test_importing_the_command_loads_neither_broker_nor_http_nor_tables() -> None:
    code = "import sys, bmi_publish.cli; print([m for m in ('pika', 'httpx', 'rich', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
