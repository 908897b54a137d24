"""Carries operations out: acceptance, workers, the executor of plans, and the watchers of what can't be ordered.

Everything here has `run_once()` and neither sleeps nor makes a thread; the daemon does both. What a command means
is the handlers' business, how rows are kept the store's.
"""
