"""Published versions of the model, and the promotion log, which names the champion.

    registry/versions/<version>/...                     a version's files; its manifest, with their sha256, comes last
    registry/promotions/<number>-<time>-<suffix>.json   one entry per promotion, never changed
    index/promotions/…                                  packs of all entries with facts of their versions

The champion is the version that the last entry by name promotes. Two runs that promote at the same time write two
entries: both stay in the history, marked as raced, and every reader sees the same champion. No entry needs a
conditional write, which not every S3-compatible store implements correctly.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from age_tasks.config import SettingChange
from age_tasks.environment import acting_person
from age_tasks.errors import DamagedError, NotFoundError, SettingsError, StoreError
from age_tasks.registry.version_facts import VersionFacts, measured
from age_tasks.stopwatch import timed
from age_tasks.store.base import Store, file_sha256
from age_tasks.store.compacted import CompactedFolder, DocumentPack, Reading
from age_tasks.store.documents import Document, FileDigest
from age_tasks.store.packs import only_logged

log = logging.getLogger(__name__)

VERSIONS, PROMOTIONS = "registry/versions/", "registry/promotions/"
INDEX = "index/promotions/"
MANIFEST = "manifest.json"
_OTHER_VERSION = "restore it, or go back to another version: `age-tasks rollback --to`, `age-tasks history` lists them"
LISTING_PAUSES = (0, 1, 2, 4, 8, 16, 32)  # seconds before each look for a new entry


class Manifest(Document):
    """`manifest.json` of a version: its files, and what is known about its model.

    `interval` holds the groups of its prediction interval, `usual` the image quality of its training images, `input`
    and `output` what goes in and comes out, `export` the result of the LiteRT export. Up to 0.1.0, `views` was written
    in place of `augmentation`.
    """

    if_lost: ClassVar[str] = "go back to another version with `age-tasks rollback --to`"

    version: str
    run: str | None = None
    test_mae: float | None = None  # years
    files: dict[str, FileDigest]
    interval: list[dict[str, Any]] = Field(default_factory=list)
    usual: dict[str, float] = Field(default_factory=dict)
    augmentation: dict[str, Any] | None = None
    views: dict[str, Any] | None = None
    gate: dict[str, Any] | None = None
    input: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    export: dict[str, Any] | None = None


class PromotionEntry(Document):
    """An entry of the promotion log as it is stored.

    `run` is None where a person promoted; `replaces` is the entry before; `changed` are the settings of the run that
    differ from its recipe's; `once` is the key of a request that may be repeated.
    """

    if_lost: ClassVar[str] = "remove it: the log then goes without this entry"

    version: str
    at: str
    who: str
    why: str
    run: str | None
    replaces: str | None
    changed: tuple[SettingChange, ...] = ()
    once: str | None = None


class PackedEntry(PromotionEntry):
    """An entry as the index has it, with facts of its version; None as long as they were not read."""

    facts: VersionFacts | None = None


@dataclass(frozen=True)
class Promotion:
    """One entry of the promotion log."""

    key: str
    version: str
    number: int  # of the version (v1, v2, …), in the order of first promotions
    at: str
    who: str
    why: str
    run: str | None  # None where a person promoted
    replaces: str | None  # the entry that was last when this one was written
    raced: bool  # another entry was written after the one that this entry replaces
    back: bool = False  # a person promoted a version older than the champion
    changed: tuple[SettingChange, ...] = ()  # settings of the run that differ from its recipe's
    once: str | None = None  # the key of the request, which may be repeated
    facts: VersionFacts | None = field(default=None, compare=False)  # of the version, if the index has them

    @property
    def name(self) -> str:
        """The short name of the version, such as `v12`."""
        return f"v{self.number}"

    @property
    def kind(self) -> str:
        """What the entry does, in words."""
        if self.run is not None:
            return "promoted by a run"
        return "rolled back" if self.back else "promoted again"


@timed("output")
def publish_version(store: Store, version: str, files: Mapping[str, Path], facts: Mapping[str, Any]) -> str:
    """Put a version's files and then its manifest; returns the version's address. An existing version is not changed.

    Args:
        version: a unique key.
        files: name in the version → local file.
        facts: further entries of the manifest (run, metrics).
    """
    if not store.exists(manifest_file(version)):
        for name, path in files.items():
            store.put(f"{VERSIONS}{version}/{name}", path)
        digests = {
            name: FileDigest(sha256=file_sha256(path), bytes=path.stat().st_size) for name, path in files.items()
        }
        store.put(manifest_file(version), Manifest(version=version, files=digests, **facts).to_bytes())
    return store.where(VERSIONS + version)


def manifest_file(version: str) -> str:
    """The key of a version's manifest."""
    return f"{VERSIONS}{version}/{MANIFEST}"


def manifest(store: Store, version: str) -> Manifest:
    """The manifest of a published version.

    Raises:
        NotFoundError: no such version, or an incomplete one.
    """
    key = manifest_file(version)
    try:
        return Manifest.parse(store.get(key), store.where(key))
    except NotFoundError:
        raise NotFoundError(f"no version {version} in {store.url}; {_OTHER_VERSION}") from None


@timed("input")
def fetch_version(store: Store, version: str, folder: Path) -> Manifest:
    """Fetch a version's files into `folder`; returns its manifest.

    Raises:
        NotFoundError: no such version.
        DamagedError: a file is gone, or its sha256 differs from the manifest's.
    """
    found = manifest(store, version)
    for name, digest in found.files.items():
        key = f"{VERSIONS}{version}/{name}"
        try:
            store.fetch(key, folder / name)
        except NotFoundError:
            raise DamagedError(f"{store.where(key)}, which its manifest lists, is gone; {_OTHER_VERSION}") from None
        if file_sha256(folder / name) != digest.sha256:
            raise DamagedError(f"{store.where(key)} is not what its manifest says (sha256 differs); {_OTHER_VERSION}")
    return found


def facts_of(store: Store, version: str) -> VersionFacts:
    """Facts of a published version, from its manifest and metrics; also of one that was removed or is damaged."""
    try:
        known = manifest(store, version)
    except NotFoundError:
        return VersionFacts(lost="removed")
    except DamagedError:
        return VersionFacts(lost="damaged")
    try:
        metrics = store.get(f"{VERSIONS}{version}/metrics.json")
    except NotFoundError:
        metrics = None
    model = known.files.get("model.keras")
    facts = {"run": known.run, "test_mae": known.test_mae, "model_sha256": model.sha256 if model else ""}
    return VersionFacts.model_validate(facts | measured(metrics))


def history(store: Store) -> list[Promotion]:
    """The promotion log, oldest entry first; three requests as a rule, however long it is."""
    return _promotions(_log(store).read().documents)


def _promotions(entries: Mapping[str, PackedEntry]) -> list[Promotion]:
    before = dict(zip(entries, [None, *entries], strict=False))
    numbers: dict[str, int] = {}
    promotions: list[Promotion] = []
    for key, entry in entries.items():
        number = numbers.setdefault(entry.version, len(numbers) + 1)
        promotions.append(
            Promotion(
                key=key,
                version=entry.version,
                number=number,
                at=entry.at,
                who=entry.who,
                why=entry.why,
                run=entry.run,
                replaces=entry.replaces,
                raced=entry.replaces != before[key],
                back=entry.run is None and bool(promotions) and number < promotions[-1].number,
                changed=entry.changed,
                once=entry.once,
                facts=entry.facts,
            )
        )
    return promotions


def version_facts(store: Store, entry: Promotion) -> VersionFacts:
    """Facts of an entry's version, from the index if it has them."""
    return entry.facts or facts_of(store, entry.version)


def rebuild_index(store: Store) -> int:
    """Build the index of the promotion log anew, from its entries and versions; returns the number of entries."""
    return _log(store).rebuild(_with_facts(store))


def _log(store: Store) -> CompactedFolder[PackedEntry]:
    return CompactedFolder(store, PROMOTIONS, INDEX, PackedEntry, DocumentPack[PackedEntry])


def _with_facts(store: Store) -> Callable[[PackedEntry], PackedEntry]:
    """A function that adds the facts of an entry's version, each version read once."""
    read = cache(partial(facts_of, store))
    return lambda entry: entry if entry.facts else entry.model_copy(update={"facts": read(entry.version)})


def champion(store: Store) -> Promotion | None:
    """The last entry of the log; None before the first promotion."""
    return next(reversed(history(store)), None)


def model_to_beat(store: Store, model_sha256: str) -> Promotion | None:
    """The version that a candidate has to beat: the last promoted one that is not the candidate itself.

    So a repeated run, whose model is the champion already, is compared with the same version as before, and its stages
    are reused. Versions that were lost are passed over, unless it is the champion: nothing replaces that unseen.
    """
    promotions = history(store)
    for entry in reversed(promotions):
        facts, is_champion = version_facts(store, entry), entry is promotions[-1]
        model = facts.model_sha256
        if model != model_sha256 and (facts.lost or not is_champion):  # the index may be out of date
            model = _model_if_complete(store, entry.version)
        if model != model_sha256 and (model or is_champion):
            return entry
        if not model:
            log.warning("%s (%s) is passed over: it is damaged, or was removed", entry.name, entry.version)
    return None


def _model_if_complete(store: Store, version: str) -> str:
    """The sha256 of a version's model; empty where one of its files is not there, or has another size."""
    try:
        files = manifest(store, version).files
    except (NotFoundError, DamagedError):
        return ""
    folder = f"{VERSIONS}{version}/"
    sizes = {entry.key.removeprefix(folder): entry.size for entry in store.entries(folder)}
    complete = all(sizes.get(name) == digest.bytes for name, digest in files.items())
    return files["model.keras"].sha256 if complete and "model.keras" in files else ""


def published_before(store: Store, model_sha256: str) -> Promotion | None:
    """The last promotion of a model with this sha256, of the versions that are still there; None if there was none."""
    same = (entry for entry in reversed(history(store)) if _model(store, entry) == model_sha256)
    return next((entry for entry in same if facts_of(store, entry.version).model_sha256 == model_sha256), None)


def name_of_next(store: Store, model_sha256: str) -> str:
    """The name, such as `v3`, of the version that this model is, or would be if it were promoted now."""
    if earlier := published_before(store, model_sha256):
        return earlier.name
    return f"v{max((entry.number for entry in history(store)), default=0) + 1}"


def promote(
    store: Store,
    version: str,
    why: str,
    run: str | None = None,
    who: str | None = None,
    seen: Sequence[Promotion] | None = None,
    changed: Sequence[SettingChange] = (),
    once: str | None = None,
) -> Promotion:
    """Append an entry that makes `version` the champion.

    Args:
        why: the reason, a sentence for the history.
        run: the run that promotes; None for a person.
        who: the person who approved; None: `AGE_WHO`, or the user of this machine.
        seen: the log that the decision was based on; an entry written since then counts as a race. None: the log as it
            is now.
        changed: the settings of the run that differ from its recipe's.
        once: the key of the request, kept in the entry.

    Raises:
        NotFoundError: the version was never published.
        StoreError: the store has the entry but does not list it.
    """
    manifest(store, version)
    keys = [entry.key for entry in (history(store) if seen is None else seen)]
    last = re.match(r"[0-9]{1,9}(?=-)", keys[-1].removeprefix(PROMOTIONS)) if keys else None
    number = int(last[0]) + 1 if last else len(keys) + 1
    now = datetime.now(UTC)
    key = f"{PROMOTIONS}{number:06d}-{now:%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}.json"
    entry = PromotionEntry(
        version=version,
        at=now.isoformat(timespec="seconds"),
        who=who or acting_person(),
        why=why,
        run=run,
        replaces=keys[-1] if keys else None,
        changed=tuple(changed),
        once=once,
    )
    store.put(key, entry.to_bytes())
    reading = _log_with(store, key)
    with only_logged():
        _log(store).compact(reading, _with_facts(store))
    promotions = _promotions(reading.documents)
    if any(other.raced for other in promotions if other.key not in keys):
        log.warning("another promotion was written at the same time; the champion is %s", promotions[-1].name)
    return next(each for each in promotions if each.key == key)


def rollback(store: Store, why: str, to: str | None = None, once: str | None = None) -> Promotion:
    """Append an entry that makes an earlier version the champion again.

    Args:
        to: a version's number (`v12` or `12`); None: the version before the champion.
        once: the key of the request; a request that is repeated with its key finds its entry and appends none.

    Raises:
        SettingsError: no such number, or no earlier version.
    """
    promotions = history(store)
    if not promotions:
        raise SettingsError(f"no model has been promoted in {store.url}; `python -m age_tasks run` trains one")
    if once and (done := next((entry for entry in promotions if entry.once == once), None)):
        log.info("%s was made the champion by an earlier attempt of this request", done.name)
        return done
    now = promotions[-1]
    if to is not None:
        wanted = find(promotions, to)
    elif now.number > 1:
        wanted = find(promotions, str(now.number - 1))
    else:
        raise SettingsError(
            f"the champion, {now.name}, is the first version: there is no earlier one; "
            f"name another with --to ({_names(promotions)}), or train one: `python -m age_tasks run`"
        )
    if wanted.version == now.version:
        raise SettingsError(f"{now.name} is the champion already; name another with --to ({_names(promotions)})")
    return promote(store, wanted.version, why, seen=promotions, once=once)


def find(promotions: Sequence[Promotion], name: str) -> Promotion:
    """The last entry of a version, by its number (`v12` or `12`) or its key.

    Raises:
        SettingsError: there is none; the message lists the versions.
    """
    number = re.fullmatch(r"v?0*([0-9]+)", name)
    for each in reversed(promotions):
        if each.version == name or (number and str(each.number) == number[1]):
            return each
    raise SettingsError(f"no version {name!r} has been promoted; choose one of {_names(promotions)}")


def _names(promotions: Sequence[Promotion]) -> str:
    return ", ".join(dict.fromkeys(each.name for each in promotions)) or "none"


def _log_with(store: Store, key: str) -> Reading[PackedEntry]:
    """The log with the entry `key`: some stores list a new object only after a while."""
    for pause in LISTING_PAUSES:
        time.sleep(pause)
        reading = _log(store).read()
        if key in reading.documents:
            return reading
    raise StoreError(
        f"{store.where(key)} is written, but the store has not listed it within {sum(LISTING_PAUSES)} seconds; the "
        "promotion takes effect when it does: check `age-tasks history` before you try again"
    )


def _model(store: Store, entry: Promotion) -> str:
    """The sha256 of the version's model; empty where the version was removed or is damaged."""
    facts = version_facts(store, entry)
    if facts.lost:
        log.warning("%s (%s) is passed over: it is %s", entry.name, entry.version, facts.lost)
    return facts.model_sha256
