"""Prints the name of its file, its arguments, and after how many new objects garbage is looked for; ends with 3."""

import gc
import sys
from pathlib import Path

if __name__ == "__main__":
    print(Path(sys.argv[0]).name, *sys.argv[1:], gc.get_threshold()[0])
    sys.exit(3)
