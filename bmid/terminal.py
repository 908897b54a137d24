"""What all commands of `bmid` do alike: read the settings, tell an error, exit as sysexits.h says."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bmid.errors import BmiError, Misconfigured
from bmid.logs import configure
from bmid.settings import Settings
from bmid.settings_file import load

__all__ = ["fail", "read_settings"]

EX_UNAVAILABLE = 69
EX_CONFIG = 78


def read_settings(path: Path) -> Settings:
    """The settings, and the log as they want it. Raises Misconfigured."""
    settings = load(path)
    configure(settings.log.level, settings.log.format)
    return settings


def fail(error: BmiError) -> None:
    """Tell it, with what to do, and exit."""
    click.echo(f"bmid: {error}", err=True)
    if error.problem.todo:
        click.echo(f"  {error.problem.todo}", err=True)
    sys.exit(EX_CONFIG if isinstance(error, Misconfigured) else EX_UNAVAILABLE)
