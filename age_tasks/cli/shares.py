"""The heavy work before a stage, as commands that several workers execute at once, each for a share of the images."""

import contextlib
from collections.abc import Callable
from typing import Annotated

import typer

from age_tasks.cli import settings
from age_tasks.cli.command import CACHE, STAGES, command
from age_tasks.cli.stage import Again, default_run
from age_tasks.data.shares import Share, share_of_this_process
from age_tasks.environment import Locations, StageVariables
from age_tasks.pipeline import SHARED_WORK
from age_tasks.progress import never_silent
from age_tasks.runs.keys import safe_run_key
from age_tasks.runs.live_status import shared_status_of_share
from age_tasks.runs.printed_summary import print_summary
from age_tasks.runs.records import Summary
from age_tasks.runs.run import find_run, open_run
from age_tasks.runs.runner import make_cache
from age_tasks.store import open_store

RunKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="The run; default: the newest run that has the splits. [env var: AGE_RUN]"),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""

    @command(app, "probe", STAGES, fills=(CACHE,))
    def probe(again: Again = False) -> int:
        """Read the images of AGE_SHARE (such as 2/4) into the cache, where `snapshot` finds them."""
        from age_tasks.stages.probe import probe_share

        variables, locations = StageVariables.from_env(), Locations.from_env()
        share, again = share_of_this_process(), again or variables.again
        key = safe_run_key(variables.run) if variables.run else ""  # as `snapshot` starts it
        return _work("probe", key, share, locations, lambda: probe_share(locations, share, again))

    @command(app, "features", STAGES, fills=(CACHE,))
    def features(
        run: RunKey = None,
        assignments: settings.Assignments = None,
        again: Again = False,
    ) -> int:
        """Compute the frozen features of AGE_SHARE (such as 2/4) into the cache, where the trainings find them."""
        variables, locations = StageVariables.from_env(), Locations.from_env()
        needed, chosen = (SHARED_WORK["features"].after,), run or variables.run
        key = find_run(chosen, lambda: open_store(locations.store)) if chosen else default_run(needed, locations)
        share = share_of_this_process()

        def compute() -> Summary:
            from age_tasks.stages.features import features_of_share

            with open_run(key, locations) as opened:
                config = settings.with_overrides(opened.config(), assignments)
                return features_of_share(opened, config, share, again or variables.again)

        return _work("features", key, share, locations, compute)


def _work(name: str, run: str, share: Share, locations: Locations, work: Callable[[], Summary]) -> int:
    """Do the work and print its summary, a line of JSON; the run's pages say meanwhile how far it is.

    Args:
        run: the key of the run; empty: of none.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(never_silent(name))
        make_cache(locations.cache)
        if run:
            stack.enter_context(shared_status_of_share(open_store(locations.store), run, name, share.number, share.of))
        print_summary(work())
    return 0
