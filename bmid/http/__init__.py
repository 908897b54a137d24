"""The one small web application of the daemon: bytes of images come in, health and metrics go out.

Nothing is decided here about what is done with the bytes, and no command is taken: those come over the bus.
"""
