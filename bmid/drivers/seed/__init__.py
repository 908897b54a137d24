"""Backends of the seed port, one file each; see bmid.drivers.base for what they promise."""
