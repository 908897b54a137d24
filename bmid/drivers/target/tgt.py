"""Targets in tgtd: what is asked of it, in which order, so that nobody enters who shouldn't.

Facts about tgt 1.0.85 that the order follows: a target without an address is closed; one whose last account is
deleted is open to all that its addresses admit; a target with I/O can't be deleted before its connections are.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bmid.drivers.base import Backing, Export, ExportStatus, Target
from bmid.drivers.base.advice import ABSENT, VALUE
from bmid.drivers.target.tgt_socket import Answer, Mode, Op, TgtSocket
from bmid.drivers.target.tgt_text import parse_accounts, parse_connections
from bmid.drivers.target.tgt_view import TgtView
from bmid.errors import PermanentError, TransientError

__all__ = ["TgtShard", "TgtTarget"]

SEED_LUN = 2
_VALUE = re.compile(r"[^\x00-\x1f\x7f,]+")  # commas part the parameters of a request, zeros end them
_GONE = (Answer.NO_TARGET,)
_BUSY = (Answer.TARGET_ACTIVE, Answer.LUN_ACTIVE)


@dataclass(frozen=True)
class TgtShard:
    """One tgtd: its management socket, and where initiators find it."""

    socket: Path
    portal_address: str
    portal_port: int = 3260


class TgtTarget(Target):
    """The targets of several tgtd. `timeout` (seconds) bounds each request, and the end of I/O in `remove`."""

    def __init__(self, shards: Mapping[str, TgtShard], timeout: float = 10) -> None:
        self.shards = tuple(shards)
        self._daemons = {name: _Daemon(shard, timeout) for name, shard in shards.items()}

    def check(self, shard: str) -> str:
        return self._daemon(shard).check()

    def portal(self, shard: str) -> tuple[str, int]:
        where = self._daemon(shard).shard
        return where.portal_address, where.portal_port

    def create(self, shard: str, export: Export) -> None:
        _validate(export)
        self._daemon(shard).create(export)

    def admit(self, shard: str, export: Export) -> None:
        _validate(export)
        self._daemon(shard).admit(export)

    def remove(self, shard: str, number: int, user: str) -> None:
        self._daemon(shard).remove(number, user)

    def status(self, shard: str, number: int) -> ExportStatus | None:
        return self._daemon(shard).view.status(number)

    def exports(self, shard: str) -> tuple[ExportStatus, ...]:
        return self._daemon(shard).view.exports()

    def close(self) -> None:
        """Nothing to let go of: each request has a connection of its own."""

    def _daemon(self, shard: str) -> _Daemon:
        if shard not in self._daemons:
            raise PermanentError(
                "shard-unknown", f"there is no target shard {shard!r} here", todo="see [target] in the settings"
            )
        return self._daemons[shard]


class _Daemon:
    """The changes in one tgtd."""

    def __init__(self, shard: TgtShard, timeout: float) -> None:
        self.shard = shard
        self._timeout = timeout
        self._socket = TgtSocket(shard.socket, timeout)
        self.view = TgtView(self._socket)

    def check(self) -> str:
        _, text = self._socket.ask(Mode.PORTAL, Op.SHOW)
        wanted = f"{self.shard.portal_address}:{self.shard.portal_port}"
        portals = re.findall(r"^Portal: (\S+),\d+$", text, re.MULTILINE)
        if not {wanted, f"0.0.0.0:{self.shard.portal_port}"}.intersection(portals):
            raise TransientError(
                "target-portal",
                f"tgtd at {self.shard.socket} listens on {', '.join(portals) or 'nothing'}, not on {wanted}",
                todo="see the portal of this shard in the settings, and tgtd's --iscsi portal=",
            )
        return f"tgtd, portal {wanted}"

    def create(self, export: Export) -> None:
        name = f"targetname={export.iqn}"
        code, _ = self._socket.ask(Mode.TARGET, Op.NEW, export.number, name, accept=(Answer.TARGET_EXISTS,))
        if code == Answer.TARGET_EXISTS:
            # tgtd says so of a number and of a name that is taken.
            for number, iqn in self.view.names().items():
                if export.number == number or export.iqn == iqn:
                    self.remove(number, export.user)
            self._socket.ask(Mode.TARGET, Op.NEW, export.number, name)
        self.view.forget(export.number)
        self._add_lun(export.number, export.lun, export.backing)
        if export.seed:
            self._add_lun(export.number, SEED_LUN, export.seed)
            self._set(export.number, SEED_LUN, "readonly=1")
        seed = export.seed.path if export.seed else None
        facts = ExportStatus(export.number, export.iqn, export.backing.path, None, (), (), seed)
        self.view.mark(export.number, facts)

    def _add_lun(self, number: int, lun: int, backing: Backing) -> None:
        parameters = f"path={backing.path},bstype={backing.bstype}"
        if backing.bsopts:
            parameters += f",bsopts={backing.bsopts}"
        code, _ = self._socket.ask(Mode.DEVICE, Op.NEW, number, parameters, lun=lun, accept=(Answer.INVALID,))
        if code == Answer.INVALID:
            self._socket.ask(Mode.TARGET, Op.DELETE, number, accept=_GONE)
            raise TransientError(
                "target-backing",
                f"tgtd at {self.shard.socket} can't open {backing.bstype} {backing.path}",
                todo="see tgtd's log, its ceph.conf and key, or the permissions of the file",
            )
        if backing.bstype == "rbd":
            # RBD LUNs announce physical blocks of 4 MiB otherwise, and partitioning tools believe it.
            self._set(number, lun, "lbppbe=3")

    def _set(self, number: int, lun: int, parameter: str) -> None:
        self._socket.ask(Mode.DEVICE, Op.UPDATE, number, f"targetOps {parameter},", lun=lun)

    def admit(self, export: Export) -> None:
        number, user = export.number, f"user={export.user}"
        facts = self.view.facts(number)
        if facts is None or facts.iqn != export.iqn:
            raise TransientError("target-absent", f"target {number} isn't {export.iqn} (any more)", todo=ABSENT)
        self.view.mark(number)  # should we end half-way, nobody takes this target for what it was
        self._add_account(export)
        self._socket.ask(Mode.ACCOUNT, Op.BIND, number, user, accept=(Answer.USER_EXISTS,))
        for address in set(facts.addresses) - {export.address}:
            text = f"initiator-address={address}"
            self._socket.ask(Mode.TARGET, Op.UNBIND, number, text, accept=(Answer.NO_ACL,))
        text = f"initiator-address={export.address}"
        self._socket.ask(Mode.TARGET, Op.BIND, number, text, accept=(Answer.ACL_EXISTS,))
        self.view.mark(number, replace(facts, user=export.user, addresses=(export.address,)))

    def _add_account(self, export: Export) -> None:
        text = f"user={export.user},password={export.secret}"
        code, _ = self._socket.ask(Mode.ACCOUNT, Op.NEW, parameters=text, accept=(Answer.USER_EXISTS,))
        if code == Answer.DONE:
            return
        holders = [each.number for each in self.view.exports() if each.user == export.user]
        if holders == [export.number]:
            return  # admitted before, and this account came after its target
        if holders:
            raise TransientError(
                "target-account",
                f"account {export.user} is bound to targets {holders}",
                todo="It is tried again. If it stays so, `tgtadm --mode account --op show` shows who made it so.",
            )
        self._drop_account(export.user)
        self._socket.ask(Mode.ACCOUNT, Op.NEW, parameters=text)

    def remove(self, number: int, user: str) -> None:
        facts = self.view.facts(number)
        if facts is not None:
            self._fence(number)
            self.view.forget(number)
        if facts is not None and facts.user and not self.view.holders(facts.user, number):
            self._drop_account(facts.user)
            if facts.user == user:
                return
        accounts = parse_accounts(self._socket.ask(Mode.ACCOUNT, Op.SHOW)[1])
        # An account that a living target has bound stays: without its last account that target is open to all.
        if user in accounts and all(each.user != user for each in self.view.exports()):
            self._drop_account(user)

    def _drop_account(self, user: str) -> None:
        self._socket.ask(Mode.ACCOUNT, Op.DELETE, parameters=f"user={user}", accept=(Answer.NO_USER,))

    def _fence(self, number: int) -> None:
        """Offline, no connection left, gone. Offline refuses new log-ins; requests in flight end meanwhile."""
        last = time.monotonic() + self._timeout
        pause = threading.Event()
        closed = (Answer.NO_SESSION, Answer.NO_CONNECTION, Answer.NO_TARGET)
        self._socket.ask(Mode.TARGET, Op.UPDATE, number, "state=offline", accept=_GONE)
        while True:
            _, text = self._socket.ask(Mode.CONNECTION, Op.SHOW, number, accept=_GONE)
            for sid, cid in parse_connections(number, text, {})[1]:
                self._socket.ask(Mode.CONNECTION, Op.DELETE, number, accept=closed, sid=sid, cid=cid)
            code, _ = self._socket.ask(Mode.TARGET, Op.DELETE, number, accept=(*_GONE, *_BUSY))
            if code not in _BUSY:
                return
            if time.monotonic() > last:
                raise TransientError(
                    "target-busy",
                    f"target {number} still has I/O in flight after {self._timeout:g} s",
                    todo="see whether the storage answers",
                )
            pause.wait(0.005)


def _validate(export: Export) -> None:
    values = {
        "IQN": export.iqn,
        "address": export.address,
        "user": export.user,
        "secret": export.secret,
    }
    for what, backing in (("backing", export.backing), ("seed", export.seed or export.backing)):
        values[f"{what} path"] = backing.path
        values[f"{what} type"] = backing.bstype
        values[f"{what} options"] = backing.bsopts or "-"
    for name, value in values.items():
        if not _VALUE.fullmatch(value):
            raise PermanentError(
                "target-value", f"tgtd can't take this {name}: empty, or with a comma or control character", todo=VALUE
            )
    if any(" " in value for value in (export.iqn, export.address, export.user)):
        raise PermanentError("target-value", "an IQN, an address or a user has no space", todo=VALUE)
