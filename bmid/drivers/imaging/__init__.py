"""Backends of the imaging port, one file each; see bmid.drivers.base for what they promise."""
