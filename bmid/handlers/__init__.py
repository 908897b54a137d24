"""One file per message: its schema, its outcome event, its plan.

A handler is a set of pure functions of values; it never calls a driver, the database or a clock. A new command is
a new file here: the registry, the documents, the command line and the tests find it by itself. Files called by what is
done (`map_node`) or has happened (`node_booted`) are messages; those called by a noun hold what several of them share.
"""
