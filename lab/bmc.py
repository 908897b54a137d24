"""What the lab's Redfish service answers: one system for each node, behaving badly on demand.

Only answers: the HTTP server and its process are lab/redfish.py, and how nodes are powered is lab/node.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lab.node import BootDevice
from lab.process import LabError

ROOT = "/redfish/v1"
SESSIONS = f"{ROOT}/SessionService/Sessions"
RESET_TYPES = ("On", "ForceOff", "GracefulShutdown", "ForceRestart")
TARGETS: dict[str, BootDevice | None] = {"None": None, "Pxe": "pxe", "Hdd": "disk"}


class Node(Protocol):
    """What the service needs of a node."""

    boot_once: BootDevice | None

    @property
    def alive(self) -> bool: ...
    def power_on(self) -> None: ...
    def power_off(self) -> None: ...
    def reset(self) -> None: ...
    def press_button(self) -> None: ...


@dataclass(frozen=True)
class Answer:
    """A status, a body (None: none) and headers."""

    status: int
    body: dict[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class System:
    """A node with its faults, and what it claims while it lies."""

    node: Node
    faults: dict[str, Any] = field(default_factory=dict)
    claimed: str | None = None

    @property
    def power_state(self) -> str:
        """On or Off, as it says."""
        return self.claimed or ("On" if self.node.alive else "Off")


class Service:
    """Answers requests. `find` gives the node of a name or None, `names` all names."""

    def __init__(self, names: Callable[[], list[str]], find: Callable[[str], Node | None], credentials: str) -> None:
        self._names = names
        self._find = find
        self._credentials = credentials
        self._systems: dict[str, System] = {}
        self._tokens: set[str] = set()
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Answer:
        """The answer to one request; blocks while a fault says so. `headers` have lower-case names."""
        path = path.rstrip("/")
        if path == ROOT and method == "GET":
            return Answer(200, self._root())
        if path == SESSIONS and method == "POST":
            return self._log_in(body)
        if path.startswith("/lab/faults/") and method == "POST":
            return self._set_faults(path.rpartition("/")[2], body)
        if not self._allowed(headers):
            return _error(401, "NoValidSession", "authentication is needed")
        if path == f"{ROOT}/SessionService":
            return Answer(
                200, {"@odata.id": path, "Id": "SessionService", "Name": "Sessions", "Sessions": _link(SESSIONS)}
            )
        if path.startswith(f"{SESSIONS}/") and method == "DELETE":
            self._tokens.discard(headers.get("x-auth-token", ""))
            return Answer(204)
        if path == f"{ROOT}/Systems":
            members = [_link(f"{path}/{name}") for name in self._names()]
            about = {"@odata.id": path, "Name": "Systems", "Members@odata.count": len(members)}
            return Answer(200, {**about, "Members": members})
        if path.startswith(f"{ROOT}/Systems/"):
            return self._about_system(method, path[len(f"{ROOT}/Systems/") :], headers, body)
        return _error(404, "ResourceMissingAtURI", path)

    def _about_system(self, method: str, rest: str, headers: Mapping[str, str], body: dict[str, Any]) -> Answer:
        name, _, action = rest.partition("/")
        system = self._system(name)
        if system is None:
            return _error(404, "ResourceMissingAtURI", rest)
        time.sleep(float(system.faults.get("hang", 0)))
        try:
            if method == "GET" and not action:
                shown = _show(name, system)
                return Answer(200, shown, {"ETag": _etag(shown)})
            if system.faults.get("refuse"):
                return _error(500, "InternalError", "refused by a fault of the lab")
            if method == "PATCH" and not action:
                return self._set_boot(name, system, headers, body)
            if method == "POST" and action == "Actions/ComputerSystem.Reset":
                return _reset(system, str(body.get("ResetType")))
        except LabError as error:
            return _error(500, "InternalError", str(error))
        return _error(405, "OperationNotAllowed", f"{method} {rest}")

    def _set_boot(self, name: str, system: System, headers: Mapping[str, str], body: dict[str, Any]) -> Answer:
        expected = headers.get("if-match")
        if expected and expected != "*" and expected != _etag(_show(name, system)):
            return _error(412, "PreconditionFailed", "the system has changed since it was read")
        boot = body.get("Boot", {})
        target = boot.get("BootSourceOverrideTarget", "None")
        enabled = boot.get("BootSourceOverrideEnabled", "Once")
        if target not in TARGETS or enabled not in ("Once", "Disabled"):
            return _error(400, "PropertyValueNotInList", f"{enabled} {target}")
        if not system.faults.get("lie"):
            system.node.boot_once = TARGETS[target] if enabled == "Once" else None
        return Answer(204)

    def _set_faults(self, name: str, faults: dict[str, Any]) -> Answer:
        system = self._system(name)
        unknown = set(faults) - {"hang", "lie", "refuse", "accept_for_ever"}
        if system is None or unknown:
            return _error(400, "PropertyUnknown", f"{name}: {', '.join(sorted(unknown)) or 'no such node'}")
        system.faults, system.claimed = faults, None
        return Answer(204)

    def _system(self, name: str) -> System | None:
        with self._lock:
            if name not in self._systems:
                node = self._find(name)
                if node is None:
                    return None
                self._systems[name] = System(node)
            return self._systems[name]

    def _log_in(self, body: dict[str, Any]) -> Answer:
        if not self._known(f"{body.get('UserName')}:{body.get('Password')}"):
            return _error(401, "ResourceAtUriUnauthorized", "user or password is wrong")
        token = secrets.token_hex(16)
        self._tokens.add(token)
        session = f"{SESSIONS}/{len(self._tokens)}"
        return Answer(
            201, {"@odata.id": session, "Id": "1", "Name": "Session"}, {"X-Auth-Token": token, "Location": session}
        )

    def _allowed(self, headers: Mapping[str, str]) -> bool:
        if headers.get("x-auth-token") in self._tokens:
            return True
        kind, _, value = headers.get("authorization", "").partition(" ")
        return kind == "Basic" and self._known(base64.b64decode(value).decode(errors="replace"))

    def _known(self, credentials: str) -> bool:
        return hmac.compare_digest(credentials.encode(), self._credentials.encode())

    def _root(self) -> dict[str, Any]:
        return {
            "@odata.id": ROOT, "Id": "RootService", "Name": "Lab", "RedfishVersion": "1.11.0",
            "UUID": "00000000-0000-4000-8000-000000000001",
            "Systems": _link(f"{ROOT}/Systems"), "SessionService": _link(f"{ROOT}/SessionService"),
            "Links": {"Sessions": _link(SESSIONS)},
        }  # fmt: skip


def _reset(system: System, kind: str) -> Answer:
    if kind not in RESET_TYPES:
        return _error(400, "ActionParameterValueNotInList", kind)
    if system.faults.get("accept_for_ever"):
        return Answer(202, {"@odata.id": f"{ROOT}/TaskService/Tasks/1", "TaskState": "Running"})
    if system.faults.get("lie"):
        system.claimed = "On" if kind in ("On", "ForceRestart") else "Off"
        return Answer(204)
    node = system.node
    do = {
        "On": node.power_on,
        "ForceOff": node.power_off,
        "GracefulShutdown": node.press_button,
        "ForceRestart": node.reset,
    }
    do[kind]()
    return Answer(204)


def _show(name: str, system: System) -> dict[str, Any]:
    path = f"{ROOT}/Systems/{name}"
    once = system.node.boot_once
    return {
        "@odata.id": path, "@odata.type": "#ComputerSystem.v1_13_0.ComputerSystem", "Id": name, "Name": name,
        "UUID": hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(), "SystemType": "Physical",
        "Status": {"State": "Enabled", "Health": "OK"}, "PowerState": system.power_state,
        "Boot": {
            "BootSourceOverrideEnabled": "Once" if once else "Disabled",
            "BootSourceOverrideTarget": next(target for target, device in TARGETS.items() if device == once),
            "BootSourceOverrideTarget@Redfish.AllowableValues": list(TARGETS),
        },
        "Actions": {
            "#ComputerSystem.Reset": {
                "target": f"{path}/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": list(RESET_TYPES),
            }
        },
    }  # fmt: skip


def _etag(shown: dict[str, Any]) -> str:
    return f'"{hashlib.sha256(json.dumps(shown["Boot"]).encode()).hexdigest()[:16]}"'


def _link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def _error(status: int, code: str, message: str) -> Answer:
    return Answer(status, {"error": {"code": f"Base.1.8.{code}", "message": message}})
