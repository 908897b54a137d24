"""`python -m lab`, which script/lab calls."""

from __future__ import annotations

from lab.cli import main

main(prog_name="script/lab")
