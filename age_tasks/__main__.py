"""`python -m age_tasks`: see `age_tasks.cli.app`."""

import sys

from age_tasks.cli.forks import forked
from age_tasks.garbage_collection import collection_paused, skip_collection_at_exit

if __name__ == "__main__":
    if (code := forked(sys.argv[1:])) is None:
        skip_collection_at_exit()
        with collection_paused():
            from age_tasks.cli.app import main
        code = main()
    sys.exit(code)
