"""Where the store holds a run's files, and the keys of runs.

runs/<run key>/run.json                  settings and locations, written when the run starts
runs/<run key>/<stage>/stage.json        the stage's record, written last: without it the stage has not finished
runs/<run key>/<stage>/...               the stage's outputs
runs/<run key>/<stage>/live.json         how far the stage is; only while it is being executed
runs/<run key>/<work>/live-2-of-4.json   the same of a task that does a share of the work before a stage
results/<stage>/<fingerprint>.json       the run that made this result, so that another can reuse it
"""

import hashlib
import re
import secrets
from datetime import UTC, datetime

from age_tasks.errors import SettingsError

RECORD = "stage.json"
LIVE = "live.json"
LONGEST_KEY = 200
_RUN_KEY = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST_KEY - 1}}}")
# The ids that Airflow makes itself, and what `former_run_key` makes of them, which is one-to-one.
_AIRFLOW_ID = re.compile(
    r"[a-z_]+__[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?\+00:00(_[A-Za-z0-9]+)?"
)
_AIRFLOW_KEY = re.compile(_AIRFLOW_ID.pattern.replace(":", "-").replace(r"\+", "-"))
_LIVE_FILE_OF_SHARE = re.compile(r".*/live-(?P<number>[0-9]+)-of-(?P<of>[0-9]+)\.json")
_DIGEST_LENGTH = 20
_WITH_DIGEST = re.compile(rf".*--[0-9a-f]{{{_DIGEST_LENGTH}}}")


def new_run_key(prefix: str = "hand") -> str:
    """A unique key: UTC time and a random part, such as `hand__20261122T101500Z-3f9c`."""
    return f"{prefix}__{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def safe_run_key(run_id: str) -> str:
    """The folder of a run with this id; two ids never have the same.

    An id that can be a folder name is one. Of the ids that Airflow makes, `manual__2026-11-22T10:15:00+00:00` loses `:`
    and `+`. Any other id, and one that looks like such a result, gets a digest: `set:a` is `set-a--8b1c…`.

    Raises:
        SettingsError: nothing usable is left, or it is longer than 200 characters.
    """
    key = former_run_key(run_id)
    if _AIRFLOW_ID.fullmatch(run_id):
        return key
    if key == run_id and not _AIRFLOW_KEY.fullmatch(key) and not _WITH_DIGEST.fullmatch(key):
        return key
    digest = hashlib.sha256(run_id.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    return f"{key[: LONGEST_KEY - 2 - _DIGEST_LENGTH]}--{digest}"


def former_run_key(run_id: str) -> str:
    """The folder that versions before 0.2 gave the id; other ids could have the same.

    Raises:
        SettingsError: as `safe_run_key`.
    """
    key = re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id)
    if not _RUN_KEY.fullmatch(key):
        raise SettingsError(f"run {run_id!r} can't be a folder name: use letters, digits, '_', '.', '-', at most 200")
    return key


def run_file(run: str) -> str:
    """The key of `run.json`."""
    return f"runs/{run}/run.json"


def stage_folder(run: str, stage: str) -> str:
    """The folder of a stage's files, ending in `/`."""
    return f"runs/{run}/{stage}/"


def record_file(run: str, stage: str) -> str:
    """The key of a stage's record."""
    return stage_folder(run, stage) + RECORD


def live_file(run: str, stage: str) -> str:
    """The key of the file that says how far a stage is."""
    return stage_folder(run, stage) + LIVE


def live_file_of_share(run: str, work: str, number: int, of: int) -> str:
    """The key of the file that says how far a task is that does a share of the work before a stage."""
    return f"{stage_folder(run, work)}live-{number}-of-{of}.json"


def share_of_live_file(key: str) -> tuple[int, int] | None:
    """The number of the share that such a file is about, and how many shares there are; None of another key."""
    found = _LIVE_FILE_OF_SHARE.fullmatch(key)
    return (int(found["number"]), int(found["of"])) if found else None


def result_file(stage: str, fingerprint: str) -> str:
    """The key of the pointer to the run that made a result."""
    return f"results/{stage}/{fingerprint}.json"
