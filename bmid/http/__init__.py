"""The one small web application of the daemon: bytes of images come in and go out, health and metrics are told.

Nothing is decided here about what is done with the bytes, and no command is taken: those come over the bus.
"""
