"""A private dnsmasq: DHCP and TFTP on the boot network of a lab, with the configuration of a real site.

What a node needs from whoever points it to its disk (the boot driver of bmid, or a test by hand). Node n1 with MAC
52:54:00:77:00:01 is to have the address 10.77.0.11:

    <hosts>/n1                      52:54:00:77:00:01,10.77.0.11,n1
    <tftp>/10.77.0.11/boot.ipxe     the node's script, 0640
    <tftp>/10.77.0.11/undionly.kpxe a link to the loader, for a BIOS node
    <tftp>/10.77.0.11/ipxe.efi      a link to the loader, for a UEFI node

- A node with two MACs that boot has both in the one line, before the address.
- Loaders: symbolic links "../undionly.kpxe", since a node with a folder of its own cannot see the files of the root.
  Both links may always be there, whatever the firmware is.
- boot.ipxe is replaced by rename only: overwritten in place, it is served cut to its old length.
- Order: folder with its files first, host entry last. On the way out: host entry, SIGHUP, release, then the folder;
  until the SIGHUP the node still gets its address, and from then on no answer.
- A new host entry is seen by itself. Write it to a name that begins with a dot, then rename: dnsmasq reads files the
  moment they are closed and skips dotted names. A changed one is read *beside* the old: SIGHUP then too.
- The lease of a removed entry keeps its address from the next node for two minutes, unless it is released: one
  DHCPRELEASE (RFC 2131) by plain UDP from the head to its own address, port 67, for each MAC, after the SIGHUP.

Which script a node gets, and what is in it, does not belong here.
"""

from __future__ import annotations

import ipaddress
import shutil
import signal
from pathlib import Path

from lab.network import Network
from lab.process import LabError, Process

TEMPLATE = Path(__file__).parent.parent / "systemd/dnsmasq.conf"
LOADERS = (Path("/usr/lib/ipxe/undionly.kpxe"), Path("/usr/lib/ipxe/ipxe.efi"))


class Dnsmasq:
    """dnsmasq of one head of `network` (0: the first), with everything it reads and writes below `folder`.

    `tftp` and `hosts` are the folders that the boot driver writes to; `pid_file` names the process to signal.
    """

    def __init__(self, folder: Path, network: Network, head: int = 0) -> None:
        self._folder = folder.absolute()
        self._network = network
        self._head = head
        self._conf = self._folder / "dnsmasq.conf"
        self.tftp = self._folder / "tftp"
        self.hosts = self._folder / "hosts"
        self.pid_file = self._folder / "dnsmasq.run.pid"
        self.leases = self._folder / "leases"
        # Not as root, like at a site: as root, TFTP would refuse the 0640 scripts. But with the right to pass any
        # folder, because a lab may lie below somebody's private folder.
        rights = "+net_admin,+net_raw,+net_bind_service,+dac_override"
        command = ["dnsmasq", "--keep-in-foreground", "--log-facility=-", f"--conf-file={self._conf}"]
        account = ["--reuid=65534", "--regid=0", "--clear-groups"]
        self._command = ["setpriv", *account, f"--inh-caps={rights}", f"--ambient-caps={rights}", *command]

    @property
    def process(self) -> Process:
        """Its process, in the namespace of its head."""
        return Process("dnsmasq", self._folder, self._command, netns=self._network.head_namespace(self._head))

    def start(self) -> None:
        """Start it; returns when it serves. The network must be up. Raises LabError."""
        if self.process.alive():
            return
        for folder in (self.tftp, self.hosts):
            folder.mkdir(parents=True, exist_ok=True)
        for loader in LOADERS:
            if not loader.exists():
                raise LabError(f"dnsmasq: {loader} is missing (Debian's package ipxe)")
            shutil.copy(loader, self.tftp)
        self._conf.write_text(self._configuration())
        self.pid_file.unlink(missing_ok=True)
        process = self.process
        process.start()
        process.wait_for(lambda: self.pid_file.exists() and self.pid_file.read_text() != "", 60, "serving")

    def stop(self) -> None:
        """Stop it; quiet where it does not run."""
        self.process.stop(grace=2)

    def reload(self) -> None:
        """Have the host entries read anew: needed when one was removed."""
        self.process.signal(signal.SIGHUP)

    def _configuration(self) -> str:
        taken = self._network.addresses
        subnet = ipaddress.ip_network(taken.subnet)
        values = {
            "interface": taken.heads[self._head].interface,
            "subnet": str(subnet.network_address),
            "netmask": str(subnet.netmask),
            "hosts": str(self.hosts),
            "tftp": str(self.tftp),
            "leases": str(self.leases),
            "pid": str(self.pid_file),
            "user": "nobody",
            "group": "root",
        }
        lines = TEMPLATE.read_text().splitlines()
        text = "\n".join(line for line in lines if not line.startswith("#"))
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        # A lab has few nodes, and its log is read when one does not boot.
        return "\n".join(line for line in text.splitlines() if line != "quiet-dhcp") + "\nlog-dhcp\n"
