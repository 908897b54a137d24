"""Backends, by kind: storage, target, boot, power, imaging, isolation.

`base` has the ports, `loader` finds backends by entry point. A backend is one file; it imports the ports, the
model and the errors, and nobody imports it.
"""
