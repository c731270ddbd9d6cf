"""The store that version 0.1.0 wrote."""

from pathlib import Path

WRITTEN = Path(__file__).parents[1] / "runs" / "written_by_0_1_0"
