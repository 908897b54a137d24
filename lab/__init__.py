"""A data centre on one machine: private services and virtual nodes, each started and stopped by one class.

Nothing here is part of the daemon, and the daemon imports nothing from here.
"""
