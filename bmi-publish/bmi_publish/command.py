"""Sub-commands from the registry: `bmi.node.map.v1` becomes `node map`. No single message is known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import click

from bmi_publish.boot import BOOTED
from bmi_publish.option import Form as Fields
from bmi_publish.option import checked, form_of
from bmi_publish.paging import LARGEST, is_list, newest_first
from bmi_publish.parameter import common_options, duration, finish, key_of, project_of, publish_options, settings_of
from bmi_publish.report import Form
from bmi_publish.run import Wish, ask, dispatch
from bmi_publish.settings import Settings
from bmi_publish.span import expand, is_span
from bmi_publish.ticket import envelope_of, new_id
from bmid.handlers.registry import Registry
from bmid.messages.base import Message, Query

__all__ = ["command_of", "query_of"]

BOOTABLE = frozenset({"map", "rebuild"})  # verbs after which a node boots
PAGE = 500  # rows asked for at once, where all are wanted
SITE = frozenset({"head", "node", "project"})  # what belongs to no project


def command_of(message: type[Message], registry: Registry) -> click.Command:
    """The sub-command that publishes a command."""
    noun, verb = message.type.split(".")[1:3]
    fields = form_of(message.model_json_schema(), noun, verb)
    bootable = verb in BOOTABLE and all(event in registry.events for event in BOOTED.events)

    def run(ctx: click.Context, **values: Any) -> None:
        settings = settings_of(ctx)
        messages = _messages(message, fields, values, settings)
        correlation = values["correlation"] or (new_id() if len(messages) > 1 else None)
        ids = {name: key_of(values["idempotency_key"], name, len(messages)) for name in messages}
        envelopes = {
            name: envelope_of(one, settings.source, id=ids[name], correlation=correlation)
            for name, one in messages.items()
        }
        if values.get("booted") and values.get("nodes"):
            raise click.UsageError("--booted goes with one node or a range, not with --nodes.")
        wait = bool(values["wait"]) or bool(values.get("booted"))
        wish = Wish(wait, values["timeout"], bool(values.get("booted")))
        form = Form(values["output"], values["column"], _single(fields, values), fields.subject or noun)
        finish(ctx, lambda: dispatch(settings, envelopes, wish, form))

    booted = click.Option(["--booted"], is_flag=True, help="Wait for the node's boot. Implies --wait.")
    parameters = [*fields.parameters(), *([booted] if bootable else []), *publish_options(), *common_options()]
    return _command(verb, message, run, parameters)


def query_of(message: type[Query]) -> click.Command:
    """The sub-command that asks a query. Of a list it follows the pages."""
    noun, verb = message.type.split(".")[1:3]
    fields = form_of(message.model_json_schema(), noun, verb)
    usual = 100 if is_list(message) and newest_first(message) else None

    def run(ctx: click.Context, **values: Any) -> None:
        settings = settings_of(ctx)
        most = usual
        if is_list(message):
            # How much is asked for at once is our own business; what makes no sense is left to be refused.
            most = usual if values["limit"] is None else values["limit"]
            values["limit"] = min(PAGE if most is None else most, LARGEST)
        messages = [cast(Query, one) for one in _messages(message, fields, values, settings).values()]
        form = Form(values["output"], values["column"], _single(fields, values), noun)
        finish(ctx, lambda: ask(settings, messages, form, values["timeout"], most))

    timeout = click.Option(["--timeout"], type=duration, default="15s", show_default=True, help="How long to wait.")
    parameters = [_in_all(one, usual) if is_list(message) else one for one in fields.parameters()]
    return _command(verb, message, run, [*parameters, timeout, *common_options()])


def _in_all(parameter: click.Parameter, usual: int | None) -> click.Parameter:
    if isinstance(parameter, click.Option) and parameter.name == "limit":
        parameter.help = f"At most so many in all; pages are followed.  [default: {usual or 'all'}]"
    return parameter


def _messages(
    message: type[Message], fields: Fields, values: Mapping[str, Any], settings: Settings
) -> dict[str, Message]:
    """The messages, by name. Raises UsageError with all that is wrong."""
    if "project" in message.model_fields and fields.subject != "project" and not _of_the_site(message):
        given = values.get("project")
        required = message.model_fields["project"].is_required()
        values = {**values, "project": project_of(given, settings) if required else given or settings.project}
    data = fields.data(values)
    names: Sequence[Any] = [""]
    try:
        if fields.subject and isinstance(data.get(fields.subject), str):
            names = expand(data[fields.subject])
        if group := data.get("nodes"):
            data["nodes"] = [name for one in group for name in expand(one)]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    found = {}
    for name in names:
        one = {**data, fields.subject: name} if name and fields.subject else data
        found[name or ",".join(group or ())] = checked(message, one)
    return found


def _of_the_site(message: type[Message]) -> bool:
    """Whether it lists what belongs to no project: there the user's own project is no more than a filter."""
    noun, verb = message.type.split(".")[1:3]
    return verb == "list" and noun in SITE


def _single(fields: Fields, values: Mapping[str, Any]) -> bool:
    return not (fields.subject and is_span(str(values.get(fields.subject) or "")))


def _command(verb: str, message: type[Message], run: Any, parameters: list[click.Parameter]) -> click.Command:
    text = (message.__doc__ or "").strip()
    return click.Command(
        verb, callback=click.pass_context(run), params=parameters, help=text, short_help=text.partition("\n")[0]
    )
