"""Backends of the isolation port, one file each; see bmid.drivers.base for what they promise."""
