"""bmi-publish: the command. Here are the root, its options and `send`; all else follows from the registry.

The broker's, the HTTP and the table libraries are imported where they are used: the command must answer at once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import click

from bmi_publish.command import command_of, query_of
from bmi_publish.image import upload_command
from bmi_publish.image_download import download_command
from bmi_publish.listen import events
from bmi_publish.live import watch
from bmi_publish.parameter import common_options, finish, key_of, publish_options, settings_of
from bmi_publish.report import Form
from bmi_publish.run import Wish, dispatch
from bmi_publish.ticket import envelope_of_raw
from bmid.handlers.registry import Registry, discover
from bmid.messages.base import Command

__all__ = ["Root", "main"]

EPILOG = """\b
Exit codes: 0 done, 1 failed, 2 usage, 65 rejected or refused, 69 not
reachable, 75 still running at the timeout, 77 not allowed, 78 unusable
settings, 130 interrupted; of a range the highest.
\b
User and password: BMI_USER, BMI_PASSWORD or BMI_PASSWORD_FILE, or the file
~/.config/bmi/config.toml; never on the command line."""


class Root(click.Group):
    """`bmi-publish NOUN VERB`, found in the registry when they are asked for."""

    @cached_property
    def registry(self) -> Registry:
        """All messages."""
        return discover()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The nouns and the commands of our own."""
        return sorted({*super().list_commands(ctx), *self._verbs})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A noun with its verbs."""
        own = super().get_command(ctx, cmd_name)
        if own or cmd_name not in self._verbs:
            return own
        verbs = self._verbs[cmd_name]
        return Noun(self.registry, verbs, name=cmd_name, short_help=", ".join(sorted({*verbs, *_own(cmd_name, verbs)})))

    @cached_property
    def _verbs(self) -> dict[str, dict[str, str]]:
        """The type of each verb of each noun; of several versions the last."""
        commands = [kind for kind, handler in self.registry.commands.items() if not handler.internal]
        found: dict[str, dict[str, str]] = {}
        for kind in sorted([*commands, *self.registry.queries], key=_version):
            parts = kind.split(".")
            if len(parts) == 4:
                found.setdefault(parts[1], {})[parts[2]] = kind
        return found


class Noun(click.Group):
    """The verbs of one noun."""

    def __init__(self, registry: Registry, verbs: Mapping[str, str], **options: Any) -> None:
        super().__init__(**options)
        self._registry = registry
        self._types = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs."""
        return sorted({*self._types, *_own(self.name or "", self._types)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A verb, made from its message's schema."""
        if own := _own(self.name or "", self._types).get(cmd_name):
            verb, made = own
            return made(self._registry.commands[self._types[verb]].command)
        kind = self._types.get(cmd_name, "")
        if kind in self._registry.commands:
            return command_of(self._registry.commands[kind].command, self._registry)
        return query_of(self._registry.queries[kind].query) if kind else None


def _own(noun: str, verbs: Mapping[str, str]) -> dict[str, tuple[str, Callable[[type[Command]], click.Command]]]:
    """Verbs that are more than one message, each with the verb it is made of: an upload is an import and a transfer."""
    if noun != "image":
        return {}
    known = {"upload": ("import", upload_command), "download": ("export", download_command)}
    return {name: made for name, made in known.items() if made[0] in verbs}


def _version(kind: str) -> int:
    digits = kind.rpartition(".v")[2]
    return int(digits) if digits.isdigit() else 0


def _plain_url(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value and urlsplit(value).password is not None:
        # Not repeated: others see the arguments of a process, and so would whoever reads this message.
        raise click.BadParameter("a password does not belong on a command line; use BMI_PASSWORD_FILE")
    return value


@click.group(
    cls=Root, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option("--url", callback=_plain_url, help="The broker: amqps://HOST/VHOST. [BMI_URL]")
@click.option("--user", help="The user in the broker. [BMI_USER]")
@click.option("--source", help="The publishing service, part of each message's identity. [BMI_SOURCE]")
@click.option("--config", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Another settings file.")
@click.version_option(package_name="bmi")
def root(**_options: object) -> None:
    """Publish commands to BMI, and hear what became of them."""


@root.command(params=[*publish_options(), *common_options()])
@click.argument("file", type=click.File("rb"))
@click.pass_context
def send(ctx: click.Context, /, file: IO[bytes], **values: Any) -> None:
    """Publish a raw message from FILE (- for standard input).

    It is a JSON object: a CloudEvent, or only its `type` and `data`. Nothing is checked here; bmid answers.
    """
    settings = settings_of(ctx)
    try:
        content = json.load(file)
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        key = key_of(values["idempotency_key"], "", 1)
        envelope = envelope_of_raw(content, settings.source, id=key, correlation=values["correlation"])
    except ValueError as error:
        raise click.UsageError(f"the message: {error}") from None
    wish = Wish(bool(values["wait"]), values["timeout"])
    form = Form(values["output"], values["column"], single=True, noun="type")
    finish(ctx, lambda: dispatch(settings, {envelope.type: envelope}, wish, form))


root.add_command(events)
root.add_command(watch)


def main() -> None:
    """The entry point of bmi-publish."""
    # What matters of it is told by our own messages.
    logging.getLogger("pika").addHandler(logging.NullHandler())
    root(prog_name="bmi-publish")
