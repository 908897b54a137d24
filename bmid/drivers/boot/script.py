"""The texts that boot a node: its iPXE script, the dark script for all others, its DHCP host entry. Pure.

Values are checked here, since a script has no quoting: what could be read as more than a value is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

from bmid.drivers.base import BootEntry, Pointer
from bmid.errors import PermanentError

__all__ = ["DARK", "boot_script", "checked_address", "foreign_lines", "host_line", "read_pointer"]

_MARK = "# bmi disk={disk} generation={generation} address={address} iqn={iqn}"
_READ = re.compile(
    r"^# bmi disk=(?P<disk>\S+) generation=(?P<generation>[0-9]{1,18}) address=(?P<address>\S+) iqn=(?P<iqn>\S+)$",
    re.MULTILINE,
)

# A node without a disk waits here and asks every second whether it has one. A script that it gets meanwhile is run
# on top of this one; a copy of this text ends at once, so that the waiting never nests. After five failures the
# network is set up anew, because the link may have gone.
DARK = """\
#!ipxe
iseq ${bmi-wait} 2 && exit 0 ||
set bmi-wait 2
set fails:int32 0
:loop
sleep 1
chain --autofree --timeout 3000 tftp://${next-server}/boot.ipxe || goto failed
set fails:int32 0
goto loop
:failed
inc fails
iseq ${fails} 5 || goto loop
set fails:int32 0
ifclose net0
dhcp net0 ||
goto loop
"""

# At the end a node that came from the waiting loop goes back to it; any other starts again. It must not fall
# through to the firmware's next boot device: that could be a disk with somebody else's system.
_BOOT = """\
#!ipxe
{mark}
set initiator-iqn {initiator}
set username {user}
set password {secret}
set keep-san 1
set bmi-tries:int32 0
:again
sanboot iscsi:{portal}::{port}:{lun:x}:{iqn} ||
inc bmi-tries
iseq ${{bmi-tries}} {tries} && goto failed ||
sleep 3
goto again
:failed
clear password
clear username
iseq ${{bmi-wait}} 2 && exit 0 ||
reboot
"""

_IQN = re.compile(r"(?:iqn|eui|naa)\.[A-Za-z0-9.:_-]{1,220}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def boot_script(entry: BootEntry, tries: int) -> str:
    """The script that leads a node to its target; PermanentError `boot-value` for a value that can't stand in it."""
    _validate(entry)
    portal, port = entry.portal
    mark = _MARK.format(disk=entry.disk, generation=entry.generation, address=entry.address, iqn=entry.iqn)
    return _BOOT.format(
        mark=mark,
        initiator=entry.initiator,
        user=entry.user,
        secret=entry.secret,
        portal=f"[{portal}]" if ":" in portal else portal,
        port=port,
        lun=entry.lun,
        iqn=entry.iqn,
        tries=tries,
    )


def read_pointer(text: str) -> Pointer | None:
    """What `boot_script` wrote: where it leads; None for any other text."""
    found = _READ.search(text)
    if found is None:
        return None
    return Pointer(found["address"], found["disk"], int(found["generation"]), found["iqn"])


def host_line(entry: BootEntry) -> str:
    """The DHCP host entry of a node, for dnsmasq's --dhcp-hostsdir."""
    _validate(entry, {"hostname", "MAC"})  # it tells no secret, and is asked for without one
    return f"{entry.mac},{entry.address},{entry.hostname}"


def foreign_lines(entry: BootEntry) -> tuple[str, ...]:
    """What a dnsmasq of somebody else needs to send this node to the TFTP server of this head."""
    head = entry.portal[0]
    return (
        f"dhcp-host={host_line(entry)}",
        "dhcp-match=set:ipxe,175",
        "dhcp-match=set:efi64,option:client-arch,7",
        "dhcp-match=set:efi64,option:client-arch,9",
        f"dhcp-boot=tag:ipxe,boot.ipxe,,{head}",
        f"dhcp-boot=tag:!ipxe,tag:efi64,ipxe.efi,,{head}",
        f"dhcp-boot=tag:!ipxe,tag:!efi64,undionly.kpxe,,{head}",
        "dhcp-option=tag:ipxe,encap:175,176,1b",  # no proxy DHCP, which iPXE would wait 2 s for
    )


def checked_address(address: str) -> str:
    """An address as the name of a folder; PermanentError `boot-value` where it is none."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise _unfit("address") from None


def _validate(entry: BootEntry, names: Collection[str] | None = None) -> None:
    """Address, portal and LUN, and of the others those named, or all."""
    forms = {
        "disk": (_WORD, entry.disk),
        "IQN": (_IQN, entry.iqn),
        "initiator": (_IQN, entry.initiator),
        "user": (_WORD, entry.user),
        "secret": (_WORD, entry.secret),
        "hostname": (_LABEL, entry.hostname),
        "MAC": (_MAC, entry.mac),
    }
    for name, (form, value) in forms.items():
        if (names is None or name in names) and not form.fullmatch(value):
            raise _unfit(name)
    if checked_address(entry.address) != entry.address or not checked_address(entry.portal[0]):
        raise _unfit("address")
    if entry.generation < 0 or entry.lun < 0 or not 0 < entry.portal[1] < 65536:
        raise _unfit("generation, LUN or port")


def _unfit(name: str) -> PermanentError:
    return PermanentError(
        "boot-value",
        f"a boot script or host entry can't hold this {name}",
        todo="Look at [boot], [network] and the addresses of [target] shards in the settings.",
    )
