"""The fields of a schema as rows of a table: type, default, constraints, meaning. Nested ones as `power.driver`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from bmid.model import name

__all__ = ["Field", "fields"]

FORMS = {
    name.LABEL: "a label",
    rf"^{name.DOTTED}$": "a label that may have . and _ inside",
    get_args(name.ImageRef)[1].pattern: "such a name, or one behind a project's label and a slash",
    r"^[0-9a-f]{64}$": "64 hex digits",
    r"^[^\x00-\x1f\x7f]*$": "no control characters",
    r"^[!-~]+$": "printable ASCII without spaces",
    r"^[A-Za-z0-9](?:\.?[A-Za-z0-9_+-])*$": "a file name without folders",
}
# What fields mean that mean the same in every message; a description in the schema comes first.
MEANINGS = {
    "action": "what was asked for: on, off or cycle",
    "address": "the address on the boot network",
    "attempt": "how many power cycles it took so far, the first included",
    "boot_mac": "the MAC of the card that boots",
    "changed": "false: it was so before, and nothing was done",
    "command": "the type of the command",
    "crash_consistent": "as after a power cut: the disk was perhaps in use",
    "credential": "the name of a credential in the head's folder of credentials",
    "description": "free text for people",
    "disk": "the disk's name",
    "done": "bytes done, or nodes of a group",
    "driver": "the driver, one of those that the site has enabled",
    "evidence": "when each stage of the boot was seen, and what showed it",
    "failed": "how many of its nodes failed",
    "firmware": "what the node starts with; of an image, the modes that it boots in",
    "format": "raw or qcow2",
    "hil_name": "what HIL calls the node; only kept so far",
    "home": "the head that would do it; absent: any",
    "hostname": "the host name that the node is given by DHCP",
    "id": "its id, never used again",
    "image": "the image's name",
    "labels": "labels of the site's own",
    "location": "where the disk is in the storage: `pool/name`, or a path",
    "macs": "MAC addresses of all network cards",
    "members": "the nodes, each with the id of its operation, how that ended, and its problem if it failed",
    "message": "the id of the command's message",
    "node": "the node's name",
    "operation": "the operation's id",
    "parent": "the image that the disk was made from, as `project/image`",
    "parked": "true: the disk was kept, and can be mapped again",
    "portal": "IP:PORT of the iSCSI portal",
    "power": "how its power stands, or is switched",
    "power.address": "the URL of the node's system at its BMC",
    "problem": "problem details, with `type`, `title`, `detail`, `todo`, `step`, `undone` and `extra`",
    "project": "the project's name",
    "reasons": "all that is wrong with the message",
    "refused": "true: the state of the site said no, and nothing was done",
    "resumed": "true: on a disk that was there before",
    "seconds": "seconds since the power-on",
    "size": "bytes as the node sees them",
    "source": "the source of the command's message",
    "stage": "the last stage that was seen: waiting, firmware, initramfs",
    "started_at": "when it was powered on (UTC)",
    "step": "the step that is being worked on, or failed",
    "steps": "the steps, in their order: name, stage (those of one may run side by side), details",
    "succeeded": "how many of its nodes succeeded",
    "target": "the iSCSI name of the target",
    "todo": "what to do next",
    "total": "bytes in all, or nodes of a group",
    "upload": "the address to PUT the bytes to, where the command takes any",
}


@dataclass(frozen=True)
class Field:
    """One row. `default` is empty where the field is required."""

    path: str
    type: str
    default: str
    meaning: str


def fields(model: type[BaseModel]) -> list[Field]:
    """The fields of a message, the nested ones after the one they are in."""
    schema = model.model_json_schema()
    return list(_rows(schema, schema.get("$defs", {}), ""))


def _rows(schema: Mapping[str, Any], defs: Mapping[str, Any], prefix: str) -> Iterator[Field]:
    required = schema.get("required", ())
    for key, raw in schema.get("properties", {}).items():
        inner = _resolved(raw, defs)
        nested = "properties" in inner and inner.get("title") != "Problem"
        own = raw.get("description") or (inner.get("description", "") if nested else "")
        meaning = own or MEANINGS.get(f"{prefix}{key}") or MEANINGS.get(key, "")
        default = "" if key in required else _default(raw.get("default"))
        limits = ", ".join(_limits(inner))
        yield Field(f"{prefix}{key}", _type(inner, defs), default, f"{meaning} ({limits})" if limits else meaning)
        if nested:
            yield from _rows(inner, defs, f"{prefix}{key}.")


def _resolved(raw: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema behind a reference, or behind `X or null`."""
    if "$ref" in raw:
        found: Mapping[str, Any] = defs[raw["$ref"].rpartition("/")[2]]
        return found
    others = [one for one in raw.get("anyOf", ()) if one.get("type") != "null"]
    return _resolved(others[0], defs) if len(others) == 1 else raw


def _type(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(_resolved(schema.get('items', {}), defs), defs)}"
    if kind == "object" and "additionalProperties" in schema and "properties" not in schema:
        return "object"
    return "time" if schema.get("format") == "date-time" else str(kind)


def _default(value: Any) -> str:
    words = {None: "not set", True: "true", False: "false", "": "empty"}
    return words[value] if isinstance(value, bool | str | None) and value in words else f"{value}"


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    if "pattern" in schema:
        yield FORMS.get(schema["pattern"], f"matches `{schema['pattern']}`")
    for key, words in (
        ("minLength", "at least {} characters"),
        ("maxLength", "at most {} characters"),
        ("minItems", "at least {}"),
        ("maxItems", "at most {}"),
        ("minProperties", "at least {}"),
        ("maxProperties", "at most {}"),
        ("minimum", "at least {}"),
        ("maximum", "at most {}"),
    ):
        if key in schema:
            yield words.format(schema[key])
