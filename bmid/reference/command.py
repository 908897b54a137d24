"""The sub-commands that print the contract: the AsyncAPI document, the schemas, the references of messages and
settings. The daemon can do without them.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import click

from bmid.handlers.registry import discover

__all__ = ["asyncapi", "messages", "schemas", "settings"]


@click.command()
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), default="json", show_default=True)
def asyncapi(output: str) -> None:
    """Print the AsyncAPI 3.0 document of all messages."""
    found = import_module("bmid.reference.asyncapi").document(discover())
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        # Copied, so that what stands in two places is written twice instead of as an anchor.
        plain = json.loads(json.dumps(found))
        click.echo(import_module("yaml").safe_dump(plain, sort_keys=False, allow_unicode=True, width=120), nl=False)


@click.command()
@click.option(
    "--into",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder for one file each. Schemas that are there already are only added to.",
)
def schemas(into: Path | None) -> None:
    """Print the JSON Schemas of all messages and of the envelope, or write them into a folder."""
    found = import_module("bmid.reference.schema").schemas(discover())
    if into is None:
        click.echo(json.dumps(found, indent=2))
        return
    before = {file.stem: json.loads(file.read_text()) for file in sorted(into.glob("*.json"))}
    breaks = import_module("bmid.reference.addition").breaks(before, found)
    for line in breaks:
        click.echo(f"not an addition: {line}", err=True)
    if breaks:
        click.echo("Nothing is written. A message whose meaning changes gets the next major version.", err=True)
        sys.exit(1)
    for name, schema in found.items():
        (into / f"{name}.json").write_text(json.dumps(schema, indent=2) + "\n")


@click.command()
@click.option("--into", type=click.Path(path_type=Path, exists=True), help="Write it into docs/messages.md instead.")
def messages(into: Path | None) -> None:
    """Print the reference of all messages, as Markdown."""
    module = import_module("bmid.reference.message")
    text = module.reference(discover())
    if into is None:
        click.echo(text, nl=False)
    else:
        into.write_text(into.read_text().partition(module.BEGIN)[0] + text)


@click.command()
def settings() -> None:
    """Print a settings file with every setting in it, commented out."""
    click.echo(import_module("bmid.reference.setting").settings_file(), nl=False)
