"""A run in the store: read by pages and tools, and the workspace of the stage that is being executed."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from age_tasks.config import Config, config_from_stored, load_recipe, recipe_names
from age_tasks.environment import Locations, acting_person
from age_tasks.errors import MissingInputError, NotFoundError, SettingsError, StoreError
from age_tasks.runs.index import announce_start
from age_tasks.runs.keys import former_run_key, record_file, run_file, safe_run_key, stage_folder
from age_tasks.runs.records import RunSettings, StageRecord, now
from age_tasks.stopwatch import timed
from age_tasks.store import open_store
from age_tasks.store.base import Store, check_key, file_sha256
from age_tasks.store.disk import full_disk_named
from age_tasks.store.documents import FileDigest


def _command(stage: str, run: str) -> str:
    """The command that executes a stage of a run, for messages."""
    return f"python -m age_tasks {stage} --run {run}"


def record_of(store: Store, run: str, stage: str) -> StageRecord | None:
    """The record of a run's stage, or None while it has none."""
    key = record_file(run, stage)
    try:
        return StageRecord.parse(store.get(key), store.where(key))
    except NotFoundError:
        return None


def _output(record: StageRecord, name: str) -> FileDigest:
    """What a record says of an output."""
    if found := record.outputs.get(name):
        return found
    again = f"`{_command(record.stage, record.run)} --again`"
    raise MissingInputError(f"run {record.run}: {record.stage} wrote no {name}; run {again}")


@dataclass(frozen=True)
class StoredRun:
    """One retraining as the store holds it, to read."""

    key: str
    store: Store

    def settings(self) -> RunSettings:
        """What the run was started with.

        Raises:
            MissingInputError: the run was never started.
        """
        key = run_file(self.key)
        try:
            return RunSettings.parse(self.store.get(key), self.store.where(key))
        except NotFoundError:
            raise MissingInputError(
                f"run {self.key} is not in {self.store.url}; start it with `{_command('snapshot', self.key)}`"
            ) from None

    def config(self) -> Config:
        """The settings that the run was started with, also those of an earlier version.

        Raises:
            MissingInputError: the run was never started.
            SettingsError: this version does not know these settings.
        """
        try:
            return config_from_stored(self.settings().config)
        except SettingsError as error:
            raise SettingsError(
                f"run {self.key} was started with other settings ({error.args[0]}); start it again: "
                f"`{_command('snapshot', self.key)} --recipe NAME`"
            ) from None

    def recipe(self) -> Config:
        """The settings of the run's recipe, before some were replaced.

        Of a run that an earlier version started, they are those of the recipe of this name today; where there is none,
        the run's own.
        """
        settings = self.settings()
        if settings.recipe:
            return config_from_stored(settings.recipe)
        config = self.config()
        return load_recipe(config.recipe) if config.recipe in recipe_names() else config

    def started(self) -> bool:
        """Whether `run.json` is written."""
        return self.store.exists(run_file(self.key))

    def record(self, stage: str) -> StageRecord | None:
        """The stage's record, or None while it has none."""
        return record_of(self.store, self.key, stage)

    def require_record(self, stage: str) -> StageRecord:
        """The record of a stage that succeeded.

        Raises:
            MissingInputError: it has not run, or failed.
        """
        record = self.record(stage)
        if record is None or not record.done:
            state = "has not run" if record is None else f"failed ({(record.error or '').partition(chr(10))[0]})"
            raise MissingInputError(f"run {self.key}: {stage} {state}; run `{_command(stage, self.key)}`")
        return record

    def require_output(self, stage: str, name: str) -> FileDigest:
        """What the record of a stage that succeeded says of an output.

        Raises:
            MissingInputError: the stage has not finished, or has no such output.
        """
        return _output(self.require_record(stage), name)

    def read(self, stage: str, name: str) -> bytes:
        """A stage's output, also of one that failed, for a person to look at.

        Raises:
            NotFoundError: the stage has no record yet, or none that lists this output.
        """
        record = self.record(stage)
        if record is None or name not in record.outputs:
            raise NotFoundError(f"run {self.key}: {stage} has no output {name}; run `{_command(stage, self.key)}`")
        return self.store.get(stage_folder(record.executed_by, stage) + name)

    def where(self, stage: str, name: str) -> str:
        """The address of a stage's output, for a person."""
        record = self.record(stage)
        return self.store.where(stage_folder(record.executed_by if record else self.key, stage) + name)


@dataclass(frozen=True)
class Workspace(StoredRun):
    """The run of the stage that is being executed, with its local folders.

    Args:
        cache: local cache of everything that can be recomputed.
        scratch: temporary folder of this process.
        fingerprint: of the stage that is being executed.
        inputs: of that stage, by name: fingerprints of earlier stages, and what else its fingerprint is made of.
        again: whether nothing that is stored shall be reused.
        replaced: the record of the stage that is being executed, as it was before: of a result, made or reused, or of a
            failure; None if there was none, or it can't be read.
    """

    cache: Path
    scratch: Path
    fingerprint: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    again: bool = False
    replaced: StageRecord | None = None

    @property
    def output_dir(self) -> Path:
        """Where the stage writes its outputs."""
        return self.scratch / "out"

    @property
    def checkpoint_dir(self) -> Path:
        """A folder for what the stage can resume from if it is interrupted; removed when the stage is done."""
        return self.cache / "unfinished" / self.fingerprint

    @timed("input")
    def input(self, stage: str, name: str) -> Path:
        """A local copy of an earlier stage's output, checked against its recorded sha256.

        Raises:
            MissingInputError: the stage has not finished, has no such output, or the bytes have changed since.
        """
        return self.output_of(self.require_record(stage), name)

    @timed("input")
    def output_of(self, record: StageRecord, name: str) -> Path:
        """As `input`, of a stage of this run with this record.

        Raises:
            MissingInputError: the stage has no such output, or the bytes have changed since.
        """
        stage, recorded = record.stage, _output(record, name)
        key, again = stage_folder(record.executed_by, stage) + name, f"`{_command(stage, self.key)} --again`"
        path = self.scratch / "in" / stage / check_key(name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.store.fetch(key, path)
            except NotFoundError:
                raise MissingInputError(f"{self.store.where(key)}, which {stage} wrote, is gone; run {again}") from None
            if file_sha256(path) != recorded.sha256:
                where = self.store.where(key)
                path.unlink()
                raise MissingInputError(f"{where} is not what {stage} wrote (sha256 differs); run {again}")
        return path

    def other(self, key: str) -> "Workspace":
        """Another run of the same store, whose inputs are fetched into a folder beside this run's."""
        return Workspace(key, self.store, self.cache, self.scratch / "other" / key)

    def full_disks_named(self) -> contextlib.AbstractContextManager[None]:
        """See `full_disk_named`: of the disks that a stage writes to before its outputs go to the store."""
        return full_disk_named({"TMPDIR": self.scratch, "AGE_CACHE": self.cache})


def find_run(run_id: str, store: Callable[[], Store]) -> str:
    """The key of the run with this id, also where a version before 0.2 started it; the id may be a folder's name too.

    Args:
        store: opens the store, which is asked only about ids whose folder had another name before.

    Raises:
        SettingsError: the id can't be a folder name.
    """
    key, former = safe_run_key(run_id), former_run_key(run_id)
    if key == former or (run := StoredRun(key, opened := store())).started():
        return key
    run = StoredRun(former, opened)
    return former if run.started() and (former == run_id or not run.settings().id) else key


@contextlib.contextmanager
def open_run(key: str, locations: Locations) -> Iterator[Workspace]:
    """The run in the folder `key`, with a scratch folder that lives as long as the context."""
    if former_run_key(key) != key:
        raise ValueError(f"{key!r} is not the folder of a run")
    with tempfile.TemporaryDirectory(prefix="age-") as scratch:
        run = Workspace(key, open_store(locations.store), locations.cache, Path(scratch))
        run.output_dir.mkdir()
        yield run


def start_run(
    run: StoredRun, config: Config, locations: Locations, run_id: str = "", recipe: Config | None = None
) -> None:
    """Write `run.json`, which every stage of the run reads its settings from.

    Args:
        run_id: what the run was started as; default: its key.
        recipe: the settings before some were replaced; default: `config`.

    Raises:
        SettingsError: the folder belongs to a run with another id, which happens on disks that take `a` and `A` for
            one name.
    """
    run_id = run_id or run.key
    with contextlib.suppress(StoreError, MissingInputError):  # none yet, or one to replace
        if (other := run.settings().id) not in {"", run_id}:
            raise SettingsError(
                f"run {run_id!r} would replace run {other!r}: {run.store.where(run_file(run.key))} can't hold both; "
                "choose another run id"
            )
    settings = RunSettings(
        id=run_id,
        config=config.to_dict(),
        recipe=(recipe or config).to_dict(),
        who=acting_person(),
        labels=locations.require_labels(),
        images=locations.images,
        created=now(),
    )
    content = settings.to_bytes()
    announce_start(run.store, run.key, settings)
    run.store.put(run_file(run.key), content)
