"""Backends of the target port, one file each; see bmid.drivers.base for what they promise."""
