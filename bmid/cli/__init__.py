"""The command line of the daemon's side: options, tables, exit codes. What is done lives in care/ and bootstrap."""

from __future__ import annotations
