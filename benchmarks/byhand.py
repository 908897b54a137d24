"""A boot set up by hand: an RBD clone, a tgt target, a boot script and a DHCP entry, and the power by Redfish.

It takes nothing of bmid but the wire format of tgtd's socket, the parser of its lists and the rules by which sessions
tell that a system has booted: so that both boots end at the same evidence.
"""

from __future__ import annotations

import ipaddress
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import rados
import rbd

from benchmarks.lun import NODE_FEATURES
from bmid.drivers.boot.lease import release_lease
from bmid.drivers.target.tgt_socket import Answer, Mode, Op, TgtSocket
from bmid.drivers.target.tgt_text import parse_connections
from bmid.drivers.target.tgt_view import TgtView
from bmid.engine.evidence import Watch
from bmid.model.entity import BootStage
from lab.process import LabError
from lab.site import Site

__all__ = ["ByHand"]

_OPTIONS = {"rbd_default_clone_format": "2", "rados_osd_op_timeout": "60"}
LOOKS = 0.1  # seconds between two looks at the sessions
SCRIPT = """\
#!ipxe
set initiator-iqn iqn.2026-11.org.example:{node}
set username byhand-{node}
set password {secret}
set keep-san 1
sanboot iscsi:{head}::{port}:1:{iqn}
"""


class ByHand:
    """Boots nodes of a lab without bmid. `image` is the golden image's name in the pool."""

    def __init__(self, site: Site, image: str) -> None:
        self._site = site
        self._image = image
        tgtd = site.tgtds[0]
        self._port = tgtd.portal.rpartition(":")[2]
        self._socket = TgtSocket(tgtd.socket, 30)
        self._view = TgtView(self._socket)
        self._secret = secrets.token_hex(8)

    def boot(self, name: str, number: int) -> float:
        """Seconds from power-on until the node's system has logged in, written and read. It is off before and after,
        and nothing of it is left. Raises LabError when it doesn't boot."""
        address = str(ipaddress.ip_network(self._site.network.addresses.subnet)[number + 2])  # below bmid's range
        target, iqn = 900_000 + number, f"iqn.2026-11.org.example:byhand-{name}"
        self._clone(f"byhand-{name}")
        try:
            self._export(target, iqn, name, address)
            self._point(name, number, address, iqn)
            self._power(name, "On")
            return self._booted(name, target, address)
        finally:
            self._clear(name, number, target, address)

    def _clone(self, name: str) -> None:
        with self._pool() as pool:
            rbd.RBD().clone(pool, self._image, "golden", pool, name, features=NODE_FEATURES)

    def _export(self, target: int, iqn: str, name: str, address: str) -> None:
        ask, user = self._socket.ask, f"byhand-{name}"
        ask(Mode.TARGET, Op.NEW, target, f"targetname={iqn}")
        conf = self._site.ceph.tgt_conf
        ask(Mode.DEVICE, Op.NEW, target, f"path=bmi/byhand-{name},bstype=rbd,bsopts=conf={conf};id=bmi", lun=1)
        ask(Mode.DEVICE, Op.UPDATE, target, "targetOps lbppbe=3,", lun=1)
        ask(Mode.ACCOUNT, Op.NEW, parameters=f"user={user},password={self._secret}")
        ask(Mode.ACCOUNT, Op.BIND, target, f"user={user}")
        ask(Mode.TARGET, Op.BIND, target, f"initiator-address={address}")

    def _point(self, name: str, number: int, address: str, iqn: str) -> None:
        dnsmasq, head = self._site.dnsmasq, self._site.network.head_ip
        folder = dnsmasq.tftp / address
        folder.mkdir(exist_ok=True)
        script = SCRIPT.format(node=name, secret=self._secret, head=head, port=self._port, iqn=iqn)
        _rename_into(folder / "boot.ipxe", script, 0o640)
        _rename_into(dnsmasq.hosts / f"byhand-{name}", f"{self._site.layout.mac(number)},{address},{name}\n", 0o644)

    def _power(self, name: str, reset: str) -> None:
        bmc = self._site.redfish
        action = f"{bmc.url}{bmc.system(name)}/Actions/ComputerSystem.Reset"
        answer = httpx.post(action, json={"ResetType": reset}, auth=(bmc.user, bmc.password), timeout=60)
        answer.raise_for_status()

    def _booted(self, name: str, target: int, address: str) -> float:
        process = self._site.node(name).process
        watch, late = Watch(base=0), time.time() + 180
        while time.time() < late:
            status = self._view.status(target)
            watch.look(status.sessions if status else (), address, time.monotonic())
            if watch.stage is BootStage.BOOTED:
                return time.time() - process.pid_file.stat().st_mtime
            time.sleep(LOOKS)
        raise LabError(
            f"{name}, by hand: only {watch.stage} after 180 s\n{self._site.node(name).console_text()[-2000:]}"
        )

    def _clear(self, name: str, number: int, target: int, address: str) -> None:
        """The end of it, by the fence that works under I/O: offline, connections, target, account."""
        self._site.node(name).power_off()
        ask = self._socket.ask
        gone = (Answer.NO_TARGET, Answer.NO_USER)
        ask(Mode.TARGET, Op.UPDATE, target, "state=offline", accept=gone)
        late = time.monotonic() + 10
        busy = (Answer.TARGET_ACTIVE, Answer.LUN_ACTIVE)  # commands under way keep it for a moment
        code = int(Answer.TARGET_ACTIVE)
        while code in busy and time.monotonic() < late:
            connections = parse_connections(target, ask(Mode.CONNECTION, Op.SHOW, target, accept=gone)[1], {})[1]
            for session, connection in connections:
                closed = (*gone, Answer.NO_SESSION, Answer.NO_CONNECTION)
                ask(Mode.CONNECTION, Op.DELETE, target, sid=session, cid=connection, accept=closed)
            code, _ = ask(Mode.TARGET, Op.DELETE, target, accept=(*gone, *busy))
        ask(Mode.ACCOUNT, Op.DELETE, parameters=f"user=byhand-{name}", accept=gone)
        (self._site.dnsmasq.hosts / f"byhand-{name}").unlink(missing_ok=True)
        self._site.dnsmasq.reload()
        release_lease(self._site.network.head_ip, address, self._site.layout.mac(number))
        shutil.rmtree(self._site.dnsmasq.tftp / address, ignore_errors=True)
        with self._pool() as pool:
            rbd.RBD().remove(pool, f"byhand-{name}")

    @contextmanager
    def _pool(self) -> Iterator[rados.Ioctx]:
        cluster = rados.Rados(conffile=str(self._site.ceph.conf), name="client.bmi", conf=_OPTIONS)
        cluster.connect()
        try:
            with cluster.open_ioctx(self._site.ceph.pool) as pool:
                yield pool
        finally:
            cluster.shutdown()


def _rename_into(path: Path, text: str, mode: int) -> None:
    """Complete or not at all: dnsmasq reads files the moment they are there, and skips dotted names."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(mode)
    new.rename(path)
