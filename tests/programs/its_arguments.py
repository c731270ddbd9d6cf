"""Prints the name of its file, its arguments, and the first threshold of garbage collection; exits with 3."""

import gc
import sys
from pathlib import Path

if __name__ == "__main__":
    print(Path(sys.argv[0]).name, *sys.argv[1:], gc.get_threshold()[0])
    sys.exit(3)
