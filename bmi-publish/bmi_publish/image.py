"""`image upload`: the import command, the transfer and the waiting in one go."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bmi_publish.error import UploadFailed
from bmi_publish.option import checked, form_of
from bmi_publish.parameter import common_options, finish, project_of, publish_options, settings_of
from bmi_publish.progress import Bars
from bmi_publish.report import Form, tell_results, tell_tickets
from bmi_publish.result import Result, State
from bmi_publish.settings import Settings
from bmi_publish.ticket import Ticket, envelope_of
from bmid.messages.base import Command
from bmid.messages.operation import OperationAccepted

if TYPE_CHECKING:
    from bmi_publish.client import Client
    from bmid.messages.envelope import Envelope

__all__ = ["upload_command"]

GRACE = 10.0  # seconds to learn why an upload was refused


class _Transferred(Exception):
    """The bytes are there, and nobody wants to wait for more."""


def upload_command(message: type[Command]) -> click.Command:
    """The sub-command, with the options of the import command but its source."""
    schema = message.model_json_schema()
    properties = {name: field for name, field in schema["properties"].items() if name not in ("source", "image")}
    fields = form_of({**schema, "properties": properties}, "image", "upload")

    def run(ctx: click.Context, **values: Any) -> None:
        settings = settings_of(ctx)
        data = fields.data(values)
        data["project"] = project_of(values["project"], settings)
        token = secrets.token_urlsafe(32)
        data |= {"image": values["name"], "source": {"upload": hashlib.sha256(token.encode()).hexdigest()}}
        ticket = Ticket.of(envelope_of(checked(message, data), settings.source, correlation=values["correlation"]))
        form = Form(values["output"], values["column"], single=True, noun="image")
        upload = _Upload(values["file"], token, ticket, values["name"], form)
        finish(ctx, lambda: upload.run(settings, values["timeout"], bool(values["wait"])))

    file = click.Argument(["file"], type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE")
    name = click.Option(["--name"], required=True, help="The name of the image.")
    ours = [option for option in publish_options() if option.name != "idempotency_key"]
    parameters = [file, name, *fields.parameters(), *ours, *common_options()]
    text = "Import an image from a file on this machine: raw or qcow2, plain or compressed with gz, xz or zst."
    return click.Command("upload", callback=click.pass_context(run), params=parameters, help=text)


class _Upload:
    """One upload. The token is never printed and never sent with the command."""

    def __init__(self, file: Path, token: str, ticket: Ticket, name: str, form: Form) -> None:
        self._file = file
        self._token = token
        self._ticket = ticket
        self._name = name
        self._form = form
        self._sent = False

    def run(self, settings: Settings, timeout: float, wait: bool) -> int:
        """Do all of it. Returns the exit code. Raises PublishError or KeyboardInterrupt."""
        from bmi_publish.client import Client  # noqa: PLC0415 - the broker's library is loaded when it is needed

        try:
            with Client(settings=settings) as client:
                try:
                    with Bars({self._ticket.id: self._name}) as bars:
                        result = self._wait(client, bars, timeout, wait)
                except _Transferred:
                    tell_tickets([self._name], [self._ticket], self._form)
                    return 0
                except UploadFailed as error:
                    result = self._reason(client, error)
            return tell_results([self._name], [result], self._form)
        except KeyboardInterrupt:
            click.echo("Interrupted; an upload that does not come to its end is given up by itself.", err=True)
            raise

    def _wait(self, client: Client, bars: Bars, timeout: float, wait: bool) -> Result:
        def hear(event: Envelope) -> None:
            bars.event(event)
            address = event.data.get("upload")
            if event.type != OperationAccepted.type or not isinstance(address, str) or self._sent:
                return
            client.upload(
                address, self._token, self._file, lambda done, all_: bars.step(self._name, "upload", done, all_)
            )
            self._sent = True
            if not wait:
                raise _Transferred

        return client.wait(self._ticket, timeout, on_event=hear)

    def _reason(self, client: Client, error: UploadFailed) -> Result:
        """An upload is refused when its operation has ended; the end's own words are better then."""
        result = client.wait(self._ticket, GRACE)
        if result.state in (State.RUNNING, State.UNSENT):
            return Result(self._ticket, State.FAILED, result.operation, problem=error.problem)
        return result
