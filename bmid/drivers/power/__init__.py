"""Backends of the power port, one file each; see bmid.drivers.base for what they promise."""
