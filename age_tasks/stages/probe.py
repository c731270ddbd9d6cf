"""Probe a share of the images before `snapshot` does: the command `probe`, one task of several.

It writes to the cache alone. `snapshot` finds there what the shares have read, and reads only what has changed since.
"""

import hashlib
import logging

from age_tasks.data.exchanged_probes import probe_and_exchange
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.labels import parse_labels
from age_tasks.data.labels_file import fetch_labels
from age_tasks.data.remote_cache import remote_cache
from age_tasks.data.shares import Share
from age_tasks.environment import Locations
from age_tasks.progress import Progress
from age_tasks.runs.records import Summary
from age_tasks.stages._inputs import names_in_folder

log = logging.getLogger(__name__)


def probe_share(locations: Locations, share: Share, again: bool = False) -> Summary:
    """Probe the images whose name belongs to a share.

    Args:
        share: which of the images in the labels.
        again: read every file of the share, changed or not.

    Returns:
        The share, its images, and how many of their files were read.

    Raises:
        SettingsError: no labels are given.
        LabelsError: there is no such labels file or images folder, or the file is no table of labels.
        StoreError: labels or images can't be reached.
    """
    location = locations.require_labels()
    rows = parse_labels(fetch_labels(location), location).rows
    folder = ImageFolder(locations.images, locations.cache)
    names = names_in_folder(rows, folder).unique()
    own = [name for name in names if share.holds(hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest())]
    log.info("share %s: %d of the %d images in %s", share, len(own), len(names), location)
    progress = Progress(share.counted("images read"))
    _, images_read = probe_and_exchange(folder, own, locations.cache, remote_cache(), progress, again)
    return {"share": str(share), "images": len(own), "images_read": images_read}
