"""`python -m age_tasks`: see `age_tasks.cli.app`."""

import sys

from age_tasks.cli.forks import forked
from age_tasks.garbage import no_search, no_search_at_end

if __name__ == "__main__":
    if (code := forked(sys.argv[1:])) is None:
        no_search_at_end()
        with no_search():
            from age_tasks.cli.app import main
        code = main()
    sys.exit(code)
