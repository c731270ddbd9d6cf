"""Take a snapshot of the labels, and probe every image once.

Writes `labels.csv` and `snapshot.csv`. `labels.csv` is the labels file, byte for byte if it is UTF-8 with commas and
writes every file name as the images folder does, else the same table written so. `snapshot.csv` has for every row its
line, file name, age as a number and as written, further columns if the settings name such, and of the
image its state, sha256, size in pixels and bytes, brightness, sharpness, colour, and problem, if it has one.
"""

import csv
import logging

import pandas as pd

from age_tasks.config import Config
from age_tasks.data.exchanged_probes import probe_and_exchange
from age_tasks.data.label_columns import further_columns
from age_tasks.data.labels import parse_labels
from age_tasks.data.labels_file import fetch_labels, record_snapshot
from age_tasks.data.remote_cache import remote_cache
from age_tasks.progress import Progress
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._inputs import images_of, names_in_folder

log = logging.getLogger(__name__)


def execute(run: Workspace, config: Config) -> Summary:
    location = run.settings().labels
    data = fetch_labels(location)
    record_snapshot(run.store, location, data, run.key)
    parsed, folder = parse_labels(data, location), images_of(run)
    log.info("%s read as: %s", location, parsed.read_as)
    further = further_columns(parsed.table, config.data, config.evaluate.slices, location)
    labels = parsed.rows.assign(file_name=names_in_folder(parsed.rows, folder)).join(further)
    names = labels["file_name"].tolist()
    (run.output_dir / "labels.csv").write_bytes(parsed.frozen(data, names))
    progress = Progress("images read")
    probes, images_read = probe_and_exchange(folder, names, run.cache, remote_cache(), progress, run.again)
    snapshot = labels.join(pd.DataFrame([vars(probes[name]) for name in labels["file_name"]]))
    for column in ("width", "height", "bytes"):
        snapshot[column] = snapshot[column].where(snapshot[column] > 0).astype("Int64")
    # Quote all texts: pandas leaves a name with a carriage return unquoted, which would start a new row.
    snapshot.to_csv(run.output_dir / "snapshot.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
    return {
        "read_as": parsed.read_as,
        "rows": len(snapshot),
        "images": len(probes),
        "images_read": images_read,
        "images_known": len(probes) - images_read,
        "problems": int((snapshot["state"] != "ok").sum()),
    }
