"""Backends of the storage port, one file each; see bmid.drivers.base for what they promise."""
