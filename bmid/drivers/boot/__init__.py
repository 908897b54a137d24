"""Backends of the boot port, one file each; see bmid.drivers.base for what they promise."""
