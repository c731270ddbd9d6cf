"""`python -m age_tasks`: see `age_tasks.cli.app`."""

import sys

from age_tasks.cli.forks import forked

if __name__ == "__main__":
    if (code := forked(sys.argv[1:])) is None:
        from age_tasks.cli.app import main

        code = main()
    sys.exit(code)
