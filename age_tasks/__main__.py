"""`python -m age_tasks`: see `age_tasks.cli.app`."""

import sys

from age_tasks.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
