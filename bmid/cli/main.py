"""The command of the daemon's side: `bmid`. Says what it does, and exits as sysexits say.

Here is only where each command is found: most of what `bmid` is made of takes longer to load than a command to do.
"""

from __future__ import annotations

from pathlib import Path

import click

from bmid.cli.terminal import Commands

__all__ = ["main"]

HERE = "bmid.cli"
PLACES = {
    **{name: f"{HERE}.daemon:{name}" for name in ("check", "migrate", "run")},
    **{name: f"{HERE}.backup:{name}" for name in ("backup", "rebuild", "restore")},
    **{name: f"bmid.reference.command:{name}" for name in ("asyncapi", "messages", "schemas", "settings")},
    "claims": f"{HERE}.claim:claims",
    "fsck": f"{HERE}.fsck:fsck",
    "heads": f"{HERE}.head:heads",
    "operations": f"{HERE}.operation:operations",
    "trash": f"{HERE}.trash:trash",
}
OF_HEADS = {name: f"{HERE}.head:{name}" for name in ("drain", "move", "portals", "undrain")}


@click.group(cls=Commands, places=PLACES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("/etc/bmid/bmid.toml"),
    envvar="BMID_CONFIG",
    show_default=True,
    help="The settings file.",
)
@click.pass_context
def main(context: click.Context, config: Path) -> None:
    """The daemon of BMI: machines boot copy-on-write clones of golden images."""
    context.obj = config


@main.group(cls=Commands, places={**OF_HEADS, "carries": f"{HERE}.carriage:carries"})
def head() -> None:
    """Empty a head, for its update or its end, or fill it again; who carries which address."""
