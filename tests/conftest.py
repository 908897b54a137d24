"""Where fixtures come from: each kind has a module of its own below tests/support."""

pytest_plugins = ["tests.support.service"]
