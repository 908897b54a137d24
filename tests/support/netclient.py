"""The firmware of a node, as far as DHCP and TFTP go: run inside the nodes' namespace, answers as JSON.

netclient.py tftp SERVER SOURCE NAME     {"data": base64} or {"error": text}
netclient.py dhcp INTERFACE MAC          {"address": ..., "hostname": ..., "file": ...} or {"error": text}
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import sys

_COOKIE = b"\x63\x82\x53\x63"


def tftp(server: str, source: str, name: str) -> dict[str, str]:
    """Read a file, from the source address (RFC 1350)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(3)
        link.bind((source, 0))
        link.sendto(struct.pack("!H", 1) + name.encode() + b"\0octet\0", (server, 69))
        data = b""
        while True:
            packet, peer = link.recvfrom(1024)
            kind, number = struct.unpack_from("!HH", packet)
            if kind == 5:
                return {"error": packet[4:-1].decode()}
            data += packet[4:]
            link.sendto(struct.pack("!HH", 4, number), peer)
            if len(packet) < 516:
                return {"data": base64.b64encode(data).decode()}


def dhcp(interface: str, mac: str) -> dict[str, str]:
    """Ask for an address as iPXE does, and look at the offer (RFC 2131)."""
    number = os.urandom(4)
    hardware = bytes.fromhex(mac.replace(":", ""))
    discover = struct.pack("!BBBB4sHH16s16s192s", 1, 1, 6, 0, number, 0, 0x8000, b"", hardware, b"")
    discover += _COOKIE + b"\x35\x01\x01" + b"\xaf\x01\x00" + b"\x37\x04\x01\x0c\x42\x43" + b"\xff"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(2)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        link.bind(("0.0.0.0", 68))
        link.sendto(discover, ("255.255.255.255", 67))
        offer = link.recv(2048)
        while offer[4:8] != number:
            offer = link.recv(2048)
    options = {}
    rest = offer[240:]
    while rest and rest[0] != 255:
        options[rest[0]] = rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    file = options.get(67) or offer[108:236]
    return {
        "address": socket.inet_ntoa(offer[16:20]),
        "hostname": options.get(12, b"").decode(),
        "file": file.rstrip(b"\0").decode(),
    }


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps({"tftp": tftp, "dhcp": dhcp}[sys.argv[1]](*sys.argv[2:])))
    except TimeoutError:
        sys.stdout.write(json.dumps({"error": "no answer"}))
