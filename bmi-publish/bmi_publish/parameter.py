"""Parameters that many sub-commands share, and what they mean. No message is known here, and nothing heavy loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import click

from bmi_publish.error import PublishError
from bmi_publish.output import FORMATS
from bmi_publish.report import complain
from bmi_publish.settings import Settings, load
from bmid.model.exit import Exit

__all__ = ["common_options", "duration", "finish", "key_of", "project_of", "publish_options", "settings_of"]

WAIT_TIMEOUT = 900.0
DURATION = re.compile(r"^(\d+(?:\.\d+)?)(s|m|h|)$", re.ASCII)
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def publish_options() -> list[click.Parameter]:
    """Options of everything that publishes."""
    return [
        click.Option(["--wait/--no-wait"], default=False, show_default="--no-wait", help="Wait for its end."),
        click.Option(
            ["--timeout"],
            type=duration,
            default=f"{WAIT_TIMEOUT:g}s",
            show_default=True,
            help="How long to wait: 90, 90s, 10m, 1h. Afterwards the command goes on, and the exit code is 75.",
        ),
        click.Option(
            ["--idempotency-key"],
            metavar="KEY",
            help="The message's id: sent again with the same key it has no second effect, and is answered. "
            "With a range, each name is added to it. [default: a new UUID]",
        ),
        click.Option(["--correlation"], metavar="ID", help="Correlation id of the events. [default: the message's id]"),
    ]


def common_options() -> list[click.Parameter]:
    """Options of everything that prints."""
    formats = click.Choice(FORMATS)
    return [
        click.Option(["-o", "--output"], type=formats, default="table", show_default=True, help="How to print."),
        click.Option(
            ["-c", "--column"], multiple=True, help="Only this column; may be repeated, and go deeper: data.address."
        ),
    ]


def duration(text: str) -> float:
    """Seconds in 90, 90s, 1.5m or 1h."""
    found = DURATION.match(str(text).strip())
    if not found:
        raise click.BadParameter(f"{text!r} is no time like 90s, 10m or 1h")
    return float(found[1]) * UNITS[found[2]]


def settings_of(ctx: click.Context) -> Settings:
    """The settings, from the options before the sub-command, the environment and the file."""
    options: Mapping[str, Any] = ctx.find_root().params
    given = {key: options.get(key) for key in ("url", "user", "source")}
    try:
        return load(given, os.environ, options.get("config"))
    except PublishError as error:
        complain(error.problem)
        ctx.exit(error.exit_code)


def project_of(given: str | None, settings: Settings) -> str:
    """The project that is named, or else the user's own. Raises UsageError where there is none."""
    project = given or settings.project
    if not project:
        raise click.UsageError("Missing option '--project' (or BMI_PROJECT, or `project` in the settings file).")
    return project


def finish(ctx: click.Context, work: Callable[[], int]) -> None:
    """Do it, say what keeps it from being done, and end with its exit code."""
    try:
        code = work()
    except PublishError as error:
        complain(error.problem)
        code = error.exit_code
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    if code:
        ctx.exit(code)


def key_of(key: str | None, name: str, count: int) -> str | None:
    """The idempotency key of one of several commands. Raises UsageError where it is too long for an id."""
    whole = f"{key}:{name}" if key and count > 1 else key
    if whole and len(whole.encode()) > 255:
        raise click.UsageError("an idempotency key has at most 255 bytes, with the name that is added to it")
    return whole
