"""A person accepts labels that `validate` refused because their ages are distributed otherwise than before."""

import logging
import re

from age_tasks.data.labels_file import content_sha256, fetch_labels, last_snapshot, last_snapshot_run
from age_tasks.data.validation import AgeShift, VerdictFile
from age_tasks.environment import acting_person
from age_tasks.errors import AgeTasksError, LabelsError, MissingInputError, NotFoundError
from age_tasks.registry.labels_acceptance import LabelsAcceptance, acceptance_of, one_line, put_acceptance
from age_tasks.runs.listing import runs_in
from age_tasks.runs.records import now
from age_tasks.runs.run import StoredRun, find_run, record_of
from age_tasks.store.base import Store

log = logging.getLogger(__name__)

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


def accept_labels(store: Store, labels: str, why: str, who: str | None = None) -> tuple[LabelsAcceptance, bool]:
    """Record that a person accepts the age distribution of the labels that a refused run froze.

    Args:
        labels: the key of the run, or the sha256 of the labels that it froze (`labels.csv`).
        why: the reason, for the validation page.
        who: None: `AGE_WHO`, or the user of this machine.

    Returns:
        The acceptance that counts, and whether it is this one: it is not if the labels were accepted before.

    Raises:
        SettingsError: an empty reason or name.
        MissingInputError: no such run or labels, or they were not validated.
        LabelsError: the labels were not refused for their age distribution alone, or have changed since.
    """
    why = one_line(why, "--why", "from now on adults only")
    who = one_line(acting_person() if who is None else who, "--by", "ann")
    by_digest = _DIGEST.fullmatch(labels) is not None
    run = _refused_with(store, labels.lower()) if by_digest else StoredRun(find_run(labels, lambda: store), store)
    if not run.started():
        raise MissingInputError(
            f"no run {run.key} in {store.url}; give the key of the run that was refused, "
            "which the message of its validate names"
        )
    digest = run.require_record("snapshot").outputs["labels.csv"].sha256
    if before := acceptance_of(store, digest):
        return before, False
    shift = _refused_shift(run)
    if not by_digest:
        _require_unchanged(run, digest)
    given = LabelsAcceptance(
        labels_sha256=digest,
        run=run.key,
        previous_run=shift.previous_run,
        distance=shift.distance,
        at=now(),
        who=who,
        why=why,
    )
    put_acceptance(store, given)
    counts = acceptance_of(store, digest) or given  # some stores list a new object only after a while
    return counts, counts == given


def _refused_with(store: Store, digest: str) -> StoredRun:
    """The newest run that froze these labels, of those that were refused if there are any."""
    found = []
    for key, stages in runs_in(store)[1].items():
        snapshot, validated = stages.get("snapshot"), stages.get("validate")
        if snapshot and (file := snapshot.outputs.get("labels.csv")) and file.sha256 == digest:
            refused = validated is not None and not validated.done
            found.append((refused, (validated or snapshot).finished, key))
    if not found:
        raise MissingInputError(
            f"no run in {store.url} froze labels with the sha256 {digest}; give the key of the run that was refused, "
            "which the message of its validate names"
        )
    return StoredRun(max(found)[2], store)


def _refused_shift(run: StoredRun) -> AgeShift:
    """The change for which the run's labels were refused, if it is the only reason."""
    record, snapshot = run.record("validate"), run.require_record("snapshot")
    if record is None or (not record.done and record.inputs.get("snapshot") != snapshot.fingerprint):
        raise MissingInputError(
            f"run {run.key}: its labels have not been validated since its snapshot; "
            f"run `age-tasks validate --run {run.key}` first"
        )
    if record.done:
        raise LabelsError(f"run {run.key}: its labels were accepted by validate; there is nothing to accept")
    try:
        verdict = VerdictFile.parse(run.read("validate", "verdict.json"), run.where("validate", "verdict.json"))
    except NotFoundError:
        reason = (record.error or "no reason is recorded").strip().splitlines()[0]
        raise LabelsError(
            f"run {run.key}: validate failed without a verdict on its labels ({reason}); "
            f"run `age-tasks validate --run {run.key}`"
        ) from None
    if verdict.problems or not verdict.shifted or verdict.shift is None:
        problems = "; ".join(verdict.problems) or "no change of the age distribution"
        raise LabelsError(
            f"run {run.key}: only a changed age distribution can be accepted, and its labels were refused for: "
            f"{problems}. Correct the labels or change the setting, and validate them again"
        )
    return verdict.shift


def _require_unchanged(run: StoredRun, digest: str) -> None:
    """Refuse if the labels file is not what the run froze: the person may have looked at another content."""
    location = run.settings().labels
    try:
        changed = _has_changed(run, location, digest)
    except AgeTasksError as error:  # not every machine that reaches the store reaches the labels
        log.warning("the labels file could not be compared with what run %s froze: %s", run.key, error)
        return
    if changed:
        raise LabelsError(
            f"{location} has changed since run {run.key} froze it: start a new run, and accept that if it is refused; "
            f"or accept what this run froze: age-tasks labels accept {digest} --why '…'"
        )


def _has_changed(run: StoredRun, location: str, digest: str) -> bool:
    newest = last_snapshot_run(run.store, location)
    if newest is None:
        return False
    if newest != run.key:  # of the last snapshot alone it is known what the file was, byte for byte
        record = record_of(run.store, newest, "snapshot")
        if record is None or not record.done or record.outputs["labels.csv"].sha256 != digest:
            return True
    return content_sha256(fetch_labels(location)) != last_snapshot(run.store, location)
