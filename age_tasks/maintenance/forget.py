"""What is kept of a picture, found in the store and the cache, and removed when a person asks for it.

A picture is known by its name in the labels and by its content: copies under other names go with it. Rows about it go
from tables, its name from texts, and a sheet that shows its face gives way to an empty one. Models stay as they are,
and so does the registry's `trained_on.csv`, which knows pictures by their sha256 alone: it says which have seen it.

What leads to other traces is removed after them (a page before its pictures, a table before the snapshot it was made
from), so that whoever was interrupted can begin again.
"""

import csv
import html
import io
import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import markupsafe
import numpy as np
import pandas as pd

from age_tasks.data.labels_file import content_sha256
from age_tasks.data.probes import delete_probes, stored_probes
from age_tasks.errors import SettingsError
from age_tasks.pipeline import STAGES
from age_tasks.registry.promotions import MANIFEST, VERSIONS, history
from age_tasks.reports import figures
from age_tasks.reports.face_sheets import SHEETS
from age_tasks.reports.html import png_uri
from age_tasks.runs.keys import RECORD, record_file
from age_tasks.runs.listing import Records, runs_in
from age_tasks.runs.records import StageRecord
from age_tasks.store.base import Store, atomic_write, file_sha256, to_json
from age_tasks.store.documents import FileDigest

FORGOTTEN = "(forgotten)"
KINDS = (".html", ".json", ".png", ".csv")  # in the order in which a folder's files are dealt with

Changes = dict[str, bytes]  # name in a folder → its new content


@dataclass(frozen=True)
class Picture:
    """A picture by its name in the labels, with all that it is known by."""

    name: str
    names: frozenset[str]  # and those of its copies
    sha256s: frozenset[str]  # of all pictures that the name has stood for
    files: frozenset[str]  # and of what could not be decoded, which may stand for many
    alike: frozenset[str]  # names of others that nearly show the same

    @cached_property
    def written(self) -> re.Pattern[str]:
        """Its names as texts write them; only those that can't be taken for a word or a number."""
        forms = [form for name in self.names if re.search(r"[^\W\d]\.|\.[^\W\d]", name) for form in _forms(name)]
        return re.compile(rf"(?<![\w./-])(?:{_any_of(forms)})(?![\w/-]|\.\w)")

    @cached_property
    def lines(self) -> re.Pattern[str]:
        """The lines of a page that are about it: a row of a table, or a figure."""
        return re.compile(
            rf"^.*<(?:td|br)>(?:{_any_of([form for name in self.names for form in _forms(name)])})<.*\n", re.MULTILINE
        )


def look_up(name: str, store: Store, cache: Path) -> Picture:
    """The picture that the labels call `name`.

    Raises:
        SettingsError: neither a run nor the cache knows it.
    """
    keys = store.list("runs/")
    snapshots = [_table(store, key) for key in keys if key.endswith("/snapshot/snapshot.csv")]
    probes = pd.DataFrame(stored_probes(cache), columns=["file_name", "sha256", "problem"])
    known = pd.concat([probes, *snapshots])
    own = known[known["file_name"] == name]
    if own.empty:
        raise SettingsError(f"{name!r} is known neither in {store.url} nor in {cache}; write it as labels.csv does")
    sha256s = frozenset(own.loc[own["problem"] == "", "sha256"])
    names = {name, *known.loc[known["sha256"].isin(sha256s), "file_name"]}
    alike: set[str] = set()
    for key in keys:
        if key.endswith("/validate/near_duplicates.csv"):
            pairs = _table(store, key)[["first_file_name", "second_file_name"]]
            alike |= set(pairs[pairs.isin(names).any(axis=1)].to_numpy().ravel())
    return Picture(name, frozenset(names), sha256s, frozenset(own["sha256"]), frozenset(alike - names))


def forget(picture: Picture, store: Store, cache: Path, delete: bool) -> Iterator[str]:
    """Find every trace, and with `delete` remove it; yields what there is as lines for a person.

    Not while a stage runs: what that has read already, it may write again.
    """
    copies = sorted(picture.names - {picture.name})
    yield ", the same picture as ".join([picture.name, *copies])
    _, records = runs_in(store)
    for folder, changed in changes(picture, store):
        yield f"  {store.where(folder)}: {', '.join(changed)}"
        if delete:
            _put(store, folder, changed, records)
    for what, remove in cached(picture, cache):
        yield f"  {what}"
        if delete:
            remove()
    yield "removed" if delete else "nothing was removed: give --delete"
    yield from _advice(picture, store)


def changes(picture: Picture, store: Store) -> Iterator[tuple[str, Changes]]:
    """The folders of the store that hold traces, and what is to take the place of the files in them."""
    keys = store.list()
    with tempfile.TemporaryDirectory() as scratch:
        sheet = Path(scratch, "sheet.png")
        blank_sheet = figures.face_sheet([], title="A face on this sheet was to be forgotten: all were taken out")
        figures.save(blank_sheet, sheet)
        blank, blank_uri = sheet.read_bytes(), png_uri(sheet)
        shown = {key for key in keys if _shows(picture, key, store)}
        uris = []
        for key in shown:
            store.fetch(key, sheet)
            uris.append(png_uri(sheet))

    def without(key: str, old: bytes) -> bytes:
        match key.rpartition(".")[2]:
            case "png":
                return blank if key in shown else old
            case "csv":
                return _rows_without(picture, old, blanked=key.endswith("/labels.csv"))
            case "json":
                told = json.loads(old)
                return old if (kept := _untold(picture.written, told)) == told else to_json(kept)
        page = old.decode()
        for uri in uris:
            page = page.replace(uri, blank_uri)
        return picture.written.sub(FORGOTTEN, picture.lines.sub("", page)).encode()

    for folder, names in _folders(keys):
        changed: Changes = {}
        for name in names:
            old = store.get(f"{folder}/{name}")
            if (new := without(f"{folder}/{name}", old)) != old:
                changed[name] = new
        if changed:
            yield folder, changed


def cached(picture: Picture, cache: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each trace in the cache, and what removes it; the index of probes, which leads to the others, last."""
    for path in sorted((cache / "features").glob("*/*")):
        if path.suffix != ".json" and not path.with_suffix(".json").exists():
            yield f"{path}: features that were never finished", path.unlink
    for index in sorted((cache / "features").glob("*/*.json")):
        keys = json.loads(index.read_text())
        keep = [row for row, key in enumerate(keys) if key.partition(" ")[0] not in picture.sha256s]
        if len(keep) < len(keys):
            yield f"{index}: {len(keys) - len(keep)} rows of features", partial(_keep_rows, index, keys, keep)
    for path in sorted((cache / "images").rglob("*")):
        if path.is_file() and file_sha256(path) in picture.files:
            yield f"{path}: a copy of it", path.unlink
    if (cache / "versions").exists():
        yield (
            f"{cache / 'versions'}: versions' reports; fetched anew when needed",
            partial(shutil.rmtree, cache / "versions"),
        )
    if any(name in picture.names for name, _, _ in stored_probes(cache)):
        yield f"{cache}: its sha256, size and hash", partial(delete_probes, cache, picture.names)


def _folders(keys: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Folders, and their files that may tell of a picture: the registry's, then those of runs, last stage first."""
    folders: dict[str, list[str]] = {}
    for key in keys:
        parts = key.split("/")
        if parts[0] == "runs" and len(parts) > 3 and key.endswith(KINDS):
            folders.setdefault("/".join(parts[:3]), []).append("/".join(parts[3:]))
        elif parts[0] in {"registry", "reports"} and key.endswith(".html"):
            folders.setdefault("/".join(parts[:-1]), []).append(parts[-1])
    turn = {stage: at for at, stage in enumerate(reversed(STAGES))}
    for folder in sorted(folders, key=lambda folder: turn.get(folder.partition("runs/")[2].rpartition("/")[2], -1)):
        yield folder, sorted(folders[folder], key=lambda name: (KINDS.index(Path(name).suffix), name))


def _shows(picture: Picture, key: str, store: Store) -> bool:
    """Whether the file is a sheet of faces with this one on it."""
    _, run, *name = key.split("/")
    if not key.startswith("runs/") or "/".join(name) not in SHEETS:
        return False
    drawn_from, rows = SHEETS["/".join(name)]
    table = _table(store, f"runs/{run}/{drawn_from}")
    for column in {"real_age", "finetune"} & set(table):
        table[column] = pd.to_numeric(table[column])
    return bool(rows(table)["sha256"].isin(picture.sha256s).any())


def _rows_without(picture: Picture, data: bytes, blanked: bool) -> bytes:
    """A table without the picture's rows, the others byte for byte; `blanked`, empty lines take their place."""
    lines = io.StringIO(data.decode(errors="surrogateescape"), newline="").readlines()
    reader = csv.reader(lines)
    header = [cell.strip("\ufeff ") for cell in next(reader, [])]
    known_by = [picture.names if name.endswith("file_name") else picture.sha256s for name in header]
    telling = [at for at, name in enumerate(header) if name == "sha256" or name.endswith("file_name")]
    kept, start = lines[: reader.line_num], reader.line_num
    for cells in reader:
        row, start = lines[start : reader.line_num], reader.line_num
        if any({cells[at].strip(), cells[at].removeprefix("'")} & known_by[at] for at in telling if at < len(cells)):
            kept += ["\n"] * len(row) if blanked else []
        elif blanked or any(picture.written.search(cells[at]) for at in telling if at < len(cells)):
            kept += row
        else:
            kept += [picture.written.sub(FORGOTTEN, line) for line in row]
    return "".join(kept).encode(errors="surrogateescape")


def _untold(written: re.Pattern[str], value: Any) -> Any:
    """A JSON value without the picture's names in its texts; keys stay."""
    match value:
        case str():
            return written.sub(FORGOTTEN, value)
        case list():
            return [_untold(written, each) for each in value]
        case dict():
            return {key: _untold(written, each) for key, each in value.items()}
    return value


def _put(store: Store, folder: str, changed: Changes, records: Records) -> None:
    """Put the files; what lists their sha256 goes along, so that they are still what it says."""
    listed = {
        name: {"sha256": content_sha256(new), "bytes": len(new)} for name, new in changed.items() if name != RECORD
    }
    if folder.startswith(VERSIONS):
        _put_version(store, folder, changed, listed)
        return
    if folder.startswith("runs/"):
        _, run, stage = folder.split("/")
        if RECORD in changed:
            records[run][stage] = StageRecord.parse(changed.pop(RECORD), record_file(run, stage))
        fingerprint = secrets.token_hex(32)  # none of it may stand in for what is made from the same inputs again
        for key, stages in records.items():
            record = stages.get(stage)
            if record and (key == run or record.reused_from == run):
                outputs = record.outputs | {name: FileDigest.model_validate(entry) for name, entry in listed.items()}
                stages[stage] = record.model_copy(update={"outputs": outputs, "fingerprint": fingerprint})
                store.put(record_file(key, stage), stages[stage].to_bytes())
    for name, new in changed.items():
        store.put(f"{folder}/{name}", new)


def _put_version(store: Store, folder: str, changed: Changes, listed: dict[str, dict]) -> None:
    """A version must be what its manifest says at every moment: until they are put, that does without the files."""
    manifest = json.loads(store.get(f"{folder}/{MANIFEST}"))
    files = {name: entry for name, entry in manifest["files"].items() if name not in listed}
    store.put(f"{folder}/{MANIFEST}", to_json(manifest | {"files": files}))
    for name, new in changed.items():
        store.put(f"{folder}/{name}", new)
    store.put(f"{folder}/{MANIFEST}", to_json(manifest | {"files": files | listed}))


def _keep_rows(index: Path, keys: list[str], keep: list[int]) -> None:
    """Put a shard of the rows to keep in the place of the shard; its index comes last, as `FeatureCache` has it."""
    features = index.with_suffix(".npy")
    if keep:
        shard = features.with_stem(secrets.token_hex(16))
        np.save(shard, np.load(features, mmap_mode="r")[keep])
        with atomic_write(shard.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps([keys[row] for row in keep]))
    index.unlink()
    features.unlink()


def _advice(picture: Picture, store: Store) -> Iterator[str]:
    """What can't be removed, and what is left to do."""
    names = {entry.version: entry.name for entry in history(store)}
    seen: dict[str, list[str]] = {"trained on": [], "tested on": []}
    for key in store.list(VERSIONS):
        if key.endswith("/trained_on.csv"):
            table, version = _table(store, key), key.split("/")[2]
            splits = set(table.loc[table["sha256"].isin(picture.sha256s), "split"])
            if splits:
                seen["tested on" if splits == {"test"} else "trained on"].append(names.get(version, version))
    for how, versions in seen.items():
        if versions:
            yield f"{', '.join(versions)}: {how} it, and kept: a model can't forget"
    also = ", and retrain, for a version that has not seen it" if seen["trained on"] else ""
    yield f"take its row out of labels.csv and the file out of the images folder, or a run takes it up again{also}"
    if picture.alike:
        yield f"nearly the same picture, and to be named by itself: {', '.join(sorted(picture.alike))}"
    yield "not looked at: caches of other machines, MLflow, Airflow's logs, e-mails, backups"


def _table(store: Store, key: str) -> pd.DataFrame:
    """A table in which every cell is text."""
    return pd.read_csv(io.BytesIO(store.get(key)), dtype="str", keep_default_na=False)


def _forms(name: str) -> set[str]:
    """A name as it is, and as pages write it."""
    return {name, html.escape(name), str(markupsafe.escape(name))}


def _any_of(texts: list[str]) -> str:
    """A pattern of any of the texts, the longest first; of none, what never matches."""
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or "(?!)"
