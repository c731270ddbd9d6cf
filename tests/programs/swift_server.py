"""One server of OpenStack Swift: `python -m tests.programs.swift_server <folder> <configuration file> <server>`."""

import sys

from swift.common import utils

from tests.programs.parent_death import end_with_parent


def main(folder: str, configuration: str, server: str) -> int:
    """Serve until the process that started this one ends."""
    utils.set_swift_dir(folder)
    from swift.common.wsgi import run_wsgi

    return run_wsgi(configuration, server, default_port=0)


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(*sys.argv[1:]))
