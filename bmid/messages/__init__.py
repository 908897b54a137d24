"""What goes over the bus: the envelope (CloudEvents 1.0), and the kinds of messages.

A message's own schema is in its handler's file; here are only the base classes and the events that belong to
every operation.
"""
