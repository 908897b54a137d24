"""One file per message: its schema, its outcome event, its plan.

A handler is a set of pure functions of values; it never calls a driver, the database or a clock. A new command is
a new file here: the registry, the documents, the command line and the tests find it by itself.
"""
