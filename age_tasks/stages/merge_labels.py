"""Merge what people said in a labelling tool into the labels: a new file beside the old one."""

import logging
from pathlib import PurePosixPath

from age_tasks.data.corrections import read_corrections
from age_tasks.data.labels import parse_labels
from age_tasks.data.labels_file import fetch_labels
from age_tasks.data.merged_labels import MergedLabels, merge, with_defaults
from age_tasks.environment import acting_person
from age_tasks.errors import SettingsError, one_line
from age_tasks.registry.label_confirmations import LabelConfirmation, put_confirmation
from age_tasks.runs.records import Summary, now
from age_tasks.store import open_store
from age_tasks.store.output_file import output_file

log = logging.getLogger(__name__)

SHOWN_CHANGES = 20


def merge_labels(labels: str, corrections: str, store: str, out: str | None = None, who: str | None = None) -> Summary:
    """Write a new labels file with the corrections; the old one stays as it is.

    A label that somebody found right, of a list of labels to look at, is confirmed in the store.

    Args:
        labels, corrections: paths or `s3://` addresses.
        store: the address of the store.
        out: the file to write; None: `<name>.merged.csv` beside the labels.
        who: said what names nobody; None: `AGE_WHO`, or the user of this machine.

    Returns:
        The new file, and how many rows changed, were added, unchanged and confirmed, and tasks unanswered and skipped.

    Raises:
        LabelsError: a file can't be read, or corrections contradict each other or the labels.
        SettingsError: there is a file of the new name already, or none can be written there.
    """
    target = out or _beside(labels)
    folder, name = output_file(target)
    if folder.exists(name):
        raise SettingsError(f"{target} exists already; move it away, or choose another name with --out")
    read = read_corrections(fetch_labels(corrections), corrections)
    given = with_defaults(read.given, who or acting_person(), now())
    merged = merge(parse_labels(fetch_labels(labels), labels), given, labels, corrections)
    folder.put(name, merged.content)
    _tell(merged, target)
    confirmed = _confirm(merged, store)
    return {
        "labels": target,
        "changed": len(merged.changed),
        "added": len(merged.added),
        "unchanged": len(merged.unchanged),
        "confirmed": confirmed,
        "unanswered": read.unanswered,
        "skipped": read.skipped,
    }


def _beside(labels: str) -> str:
    folder, slash, name = labels.rpartition("/")
    return f"{folder}{slash}{PurePosixPath(name).stem}.merged.csv"


def _tell(merged: MergedLabels, target: str) -> None:
    """Log what changes, the first rows one by one."""
    for change in merged.changed[:SHOWN_CHANGES]:
        said = change.correction
        log.info("line %d, %s: %s → %g, by %s", change.line, said.file_name, change.before, said.age, said.who)
    if (more := len(merged.changed) - SHOWN_CHANGES) > 0:
        log.info("… and %d more ages", more)
    for said in merged.added[:SHOWN_CHANGES]:
        log.info("new: %s, %g, by %s", said.file_name, said.age, said.who)
    if (more := len(merged.added) - SHOWN_CHANGES) > 0:
        log.info("… and %d more images", more)
    log.info("%s is written; rename it to the labels file to use it", target)


def _confirm(merged: MergedLabels, store: str) -> int:
    """Confirm the labels that were on a list of labels to look at, and were found right; returns how many."""
    right = [each for each in merged.unchanged if each.sha256 and each.run]
    if not right:
        return 0
    opened = open_store(store)
    for each in right:
        confirmation = LabelConfirmation(
            sha256=each.sha256,
            file_name=each.file_name,
            real_age=each.age,
            right=True,
            run=each.run,
            at=each.when,
            who=one_line(each.who),
        )
        put_confirmation(opened, confirmation)
    return len(right)
