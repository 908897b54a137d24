"""What an operator does about a site, past the bus and beside a running daemon: look, mend, save, rebuild, move heads.

One module for each command of cli/. None of them is needed for the daemon's own work.
"""

from __future__ import annotations
