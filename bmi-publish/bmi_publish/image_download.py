"""`image download`: the export command, the waiting, the transfer and the tidying up in one go."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from bmi_publish.error import PublishError
from bmi_publish.option import checked
from bmi_publish.parameter import common_options, finish, project_of, publish_options, settings_of
from bmi_publish.progress import Bars
from bmi_publish.report import Form, complain, tell_results
from bmi_publish.result import Result, State
from bmi_publish.settings import Settings
from bmi_publish.ticket import Ticket, envelope_of, new_id
from bmid.errors import Problem
from bmid.messages.base import Command

if TYPE_CHECKING:
    from bmi_publish.client import Client

__all__ = ["download_command"]

AGAIN = 30.0  # seconds to hear an outcome once more that was missed
OURS = ("timeout", "correlation")


def download_command(message: type[Command]) -> click.Command:
    """The sub-command, made of the export command."""

    def run(ctx: click.Context, **values: Any) -> None:
        settings = settings_of(ctx)
        project = project_of(values["project"], settings)
        token = secrets.token_urlsafe(32)
        to = {
            "file": f"{values['image']}-{new_id()}.{values['format']}",
            "format": values["format"],
            "token": hashlib.sha256(token.encode()).hexdigest(),
        }
        command = checked(message, {"project": project, "image": values["image"], "to": to})
        ticket = Ticket.of(envelope_of(command, settings.source, correlation=values["correlation"]))
        form = Form(values["output"], values["column"], single=True, noun="image")
        try:
            target = values["to"].open("xb")
        except OSError as error:
            raise click.UsageError(f"{values['to']}: {error.strerror or error}") from None
        download = _Download(values["image"], token, ticket, form)

        def fetch() -> int:
            code = 1
            try:
                with target:
                    code = download.run(settings, target, values["timeout"])
            finally:
                if code:
                    values["to"].unlink(missing_ok=True)
            return code

        finish(ctx, fetch)

    parameters = [
        click.Argument(["image"]),
        click.Option(["--project"], metavar="PROJECT", help="The project; BMI_PROJECT or the settings file's."),
        click.Option(
            ["--to"], required=True, metavar="FILE", type=click.Path(path_type=Path), help="A new file on this machine."
        ),
        click.Option(["--format"], type=click.Choice(["qcow2", "raw"]), default="qcow2", show_default=True),
        *(option for option in publish_options() if option.name in OURS),
        *common_options(),
    ]
    text = (
        "Fetch an image into a new file on this machine. It is exported to the site's export folder, fetched, compared "
        "with its digest, and taken out of the folder again."
    )
    return click.Command("download", callback=click.pass_context(run), params=parameters, help=text)


class _Download:
    """One download. The token is never printed and never sent with the command."""

    def __init__(self, name: str, token: str, ticket: Ticket, form: Form) -> None:
        self._name = name
        self._token = token
        self._ticket = ticket
        self._form = form

    def run(self, settings: Settings, target: BinaryIO, timeout: float) -> int:
        """Do all of it. Returns the exit code. Raises PublishError or KeyboardInterrupt."""
        from bmi_publish.client import Client  # noqa: PLC0415 - the broker's library is loaded when it is needed

        try:
            with Client(settings=settings) as client, Bars({self._ticket.id: self._name}) as bars:
                result = client.wait(self._ticket, timeout, on_event=bars.event)
                if result.ok and result.event is None:
                    result = client.wait(self._ticket, AGAIN)
                if result.ok:
                    result = self._fetch(client, bars, result, target)
            return tell_results([self._name], [result], self._form)
        except KeyboardInterrupt:
            click.echo("Interrupted; what was exported so far may stay in the site's export folder.", err=True)
            raise

    def _fetch(self, client: Client, bars: Bars, result: Result, target: BinaryIO) -> Result:
        from bmi_publish.download import remove_file  # noqa: PLC0415 - httpx takes 0.1 s to load

        said = result.event.data if result.event else {}
        address = str(said.get("url", ""))
        digest = client.download(
            address, self._token, target, lambda done, total: bars.step(self._name, "download", done, total)
        )
        if digest != said.get("sha256"):
            detail = f"what came has the digest {digest}, and {said.get('sha256')} was exported"
            problem = Problem.of("digest-mismatch", detail, todo="Fetch it again.")
            return Result(self._ticket, State.FAILED, result.operation, problem=problem)
        try:
            remove_file(address, self._token)
        except PublishError as error:
            complain(error.problem, "The file is here, and stays in the site's export folder")
        return result
