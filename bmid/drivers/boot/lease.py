"""Gives a DHCP lease back on behalf of a node that can't: one DHCPRELEASE (RFC 2131, section 4.4.6).

dnsmasq keeps an address from its next node while the lease of the one before runs, also when that one's host entry
is gone: the next node would get no answer for minutes.
"""

from __future__ import annotations

import os
import socket
import struct

__all__ = ["release_lease"]

# op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file
_HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_COOKIE = b"\x63\x82\x53\x63"
_RELEASE = b"\x35\x01\x07"
_SERVER_IDENTIFIER = b"\x36\x04"
_PORT = 67


def release_lease(server: str, address: str, mac: str) -> None:
    """Tell the DHCP server at `server` that `mac` doesn't use `address` any more. Repeating it does no harm."""
    here, there = socket.inet_aton(server), socket.inet_aton(address)
    hardware = bytes.fromhex(mac.replace(":", ""))
    number = int.from_bytes(os.urandom(4), "big")
    header = _HEADER.pack(1, 1, 6, 0, number, 0, 0, there, b"", b"", b"", hardware, b"", b"")
    message = header + _COOKIE + _RELEASE + _SERVER_IDENTIFIER + here + b"\xff"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.sendto(message, (server, _PORT))
