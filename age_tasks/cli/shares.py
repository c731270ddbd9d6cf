"""The heavy work before a stage, as commands that several workers execute at once, each for a share of the images."""

import json
from collections.abc import Callable
from typing import Annotated

import typer

from age_tasks.cli import settings
from age_tasks.cli.command import CACHE, STAGES, command
from age_tasks.cli.stage import Again, default_run
from age_tasks.data.shares import share_of_this_process
from age_tasks.environment import Locations, StageVariables
from age_tasks.pipeline import SHARED_WORK
from age_tasks.progress import never_silent
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

        again, locations = again or StageVariables.from_env().again, Locations.from_env()
        return _work("probe", locations, lambda: probe_share(locations, share_of_this_process(), again))

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

        def compute() -> Summary:
            from age_tasks.stages.features import features_of_share

            with open_run(key, locations) as opened:
                config = settings.with_overrides(opened.config(), assignments)
                return features_of_share(opened, config, share_of_this_process(), again or variables.again)

        return _work("features", locations, compute)


def _work(name: str, locations: Locations, work: Callable[[], Summary]) -> int:
    """Do the work and print its summary, a line of JSON."""
    with never_silent(name):
        make_cache(locations.cache)
        print(json.dumps(work()), flush=True)
    return 0
