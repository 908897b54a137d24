"""`bmid run --sandbox`: a bmid for the authors of other services. Its broker is real; its world is in memory.

The engine, the database and the messages are the real ones. Here lives what stands in for the world: nodes that boot
after a while, faults that labels ask for, and a site to begin with. How the pieces of a head are made, bootstrap and
parts know; nothing here is used by a bmid without `--sandbox`.
"""
