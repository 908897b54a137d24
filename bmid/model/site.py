"""What the handlers may know of the site: limits and habits from the settings, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Site"]


@dataclass(frozen=True)
class Site:
    """Seconds and bytes. `id` is in all that the site puts into a storage, and no other site has it; empty where nobody
    asked the database for it. `boot_attempts` counts power cycles by us, the first included. `trash_days`: what is
    removed can be brought back so long."""

    id: str = ""
    iqn_prefix: str = "iqn.2026-11.org.example.bmi"
    network: str = "default"
    boot_deadline: float = 600.0
    boot_attempts: int = 2
    upload_deadline: float = 3600.0
    upload_url: str = ""
    max_size: int = 1 << 40
    trash_days: float = 7.0
    power_off_deadline: float = 120.0
    import_pools: tuple[str, ...] = ()
    export_pools: tuple[str, ...] = ()
    quarantine: float = 86400.0
    retention_days: float = 14.0

    def target(self, disk: str) -> str:
        """The iSCSI name of a disk's target."""
        return f"{self.iqn_prefix}:{disk}"

    def initiator(self, node: str) -> str:
        """The iSCSI name that a node logs in with."""
        return f"{self.iqn_prefix}:node.{node}"
