"""Simulated worlds: two heads, their broker and their machines on virtual time, in one thread, by one seed.

The engine, the handlers, the store and the relay are the real ones; drivers are memory twins, the database is SQLite in
memory. What a world must be like is `verdict`'s and `witness`'s business, which worlds are tried is the tests'.
"""
