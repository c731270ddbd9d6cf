"""Everything that store and cache hold about one image."""

import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from age_tasks.data.exchanged_probes import erase_rows, rows_of, sent_files, sent_probes
from age_tasks.data.image_folder import same_file
from age_tasks.data.image_shards import indexed_members
from age_tasks.data.probes import erase_probes, stored_probes
from age_tasks.errors import SettingsError
from age_tasks.maintenance.erased_content import ErasedImage, json_without, page_without, table_without
from age_tasks.pipeline import STAGES
from age_tasks.registry.decisions import DECISIONS
from age_tasks.registry.label_confirmations import CONFIRMED
from age_tasks.registry.label_ranking import NEXT
from age_tasks.registry.labels_acceptance import ACCEPTED
from age_tasks.registry.promotions import PROMOTIONS
from age_tasks.reports import figures
from age_tasks.reports.face_sheets import SHEETS
from age_tasks.reports.html import png_uri
from age_tasks.reports.safe_csv import as_written
from age_tasks.store.base import Store, file_sha256, to_json
from age_tasks.training.feature_cache import image_of, incomplete_files, remove_remote_images, stored_shards
from age_tasks.training.remote_shards import complete_shards, incomplete_objects, read_indexes

OUTSIDE_RUNS = (ACCEPTED, CONFIRMED, DECISIONS, PROMOTIONS, NEXT)  # what people wrote, and what to label next
KINDS = (".html", ".json", ".png", ".csv")  # the order in which the files of a folder are changed
_SHA256 = re.compile(r"[0-9a-f]{64}")

Changes = dict[str, bytes]
"""The new content of files, by their name in a folder."""


def find_image(name: str, store: Store, cache: Path, remote: Store | None = None) -> ErasedImage:
    """The image that the labels call `name`, or that has this content.

    Args:
        name: its file name, or the sha256 of its content, 64 hex digits: this also where nothing tells its name any
            more, such as on a second machine after it was erased from the store.
        remote: the store through which caches exchange what they have computed; None: there is none.

    Raises:
        SettingsError: neither a run nor the cache knows a file of this name.
    """
    keys = store.list("runs/")
    snapshots = [read_table(store, key) for key in keys if key.endswith("/snapshot/snapshot.csv")]
    indexed = [*stored_probes(cache), *(sent_files(remote) if remote else ())]
    probes = pd.DataFrame(indexed, columns=["file_name", "sha256", "problem"])
    known = pd.concat([probes, *snapshots])
    own = known[known["file_name"] == name]
    if own.empty and _SHA256.fullmatch(name.lower()):
        own = known[known["file_name"].isin(_names_with(name.lower(), known))]
        if own.empty:
            return _nameless(name.lower(), known)
    if own.empty:
        own = known[[same_file(name, each) for each in known["file_name"]]]
    if own.empty:
        raise SettingsError(
            f"{name!r} is neither in {store.url} nor in {cache}; write it as labels.csv does, or give the sha256 of "
            "its content"
        )
    sha256s = frozenset(own.loc[own["problem"] == "", "sha256"])
    names = {*own["file_name"], *known.loc[known["sha256"].isin(sha256s), "file_name"]}
    similar: set[str] = set()
    for key in keys:
        if key.endswith("/validate/near_duplicates.csv"):
            pairs = read_table(store, key)[["first_file_name", "second_file_name"]].map(as_written)
            similar |= set(pairs[pairs.isin(names).any(axis=1)].to_numpy().ravel())
    stored = frozenset(own["sha256"]) - {""}
    shown = name if name in names else min(own["file_name"])
    return ErasedImage(shown, frozenset(names), sha256s, stored, frozenset(similar - names))


def _names_with(sha256: str, known: pd.DataFrame) -> set[str]:
    """The names of files with this content; none if it is no image that decodes: an error page, say, identifies none.

    Args:
        known: columns file_name, sha256, problem.
    """
    own = known[known["sha256"] == sha256]
    return set(own["file_name"]) if (own["problem"] == "").any() else set()


def _nameless(sha256: str, known: pd.DataFrame) -> ErasedImage:
    """The content alone. What unreadable files have in common, such as an error page, identifies no image."""
    content = frozenset({sha256})
    shared = bool((known["sha256"] == sha256).any())
    return ErasedImage(sha256, frozenset(), frozenset() if shared else content, content, frozenset())


def traces_in_store(image: ErasedImage, store: Store) -> Iterator[tuple[str, Changes]]:
    """The folders of the store with traces of the image, and the new content of their files without it.

    A sheet that shows its face becomes an empty one, since one face can't be taken out of a PNG file.
    """
    keys = store.list()
    sheets, blank, shown_uris, blank_uri = _sheets_with(image, keys, store)
    for folder, names in _folders_to_search(keys):
        changed: Changes = {}
        for name in names:
            key = f"{folder}/{name}"
            old = store.get(key)
            match Path(name).suffix:
                case ".png":
                    new = blank if key in sheets else old
                case ".csv":
                    new = table_without(image, old, keep_line_numbers=key.endswith("/labels.csv"))
                case ".json":
                    value = json.loads(old)
                    kept = json_without(image, value)
                    new = old if kept == value else to_json(kept)
                case _:
                    page = old.decode()
                    for uri in shown_uris:
                        page = page.replace(uri, blank_uri)
                    new = page_without(image, page).encode()
            if new != old:
                changed[name] = new
        if changed:
            yield folder, changed


def traces_in_cache(image: ErasedImage, cache: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """A description of each trace in the cache, and a function that removes it.

    The index of probes, by which the others are found, comes last.
    """
    for path in incomplete_files(cache):
        yield f"{path}: features that were never finished", path.unlink
    for shard in stored_shards(cache):
        if rows := shard.rows_of(image.sha256s):
            yield f"{shard.index}: {len(rows)} rows of features", partial(shard.remove_images, image.sha256s)
    for path in sorted((cache / "images").rglob("*")):
        if path.is_file() and file_sha256(path) in image.stored_sha256s:
            yield f"{path}: a copy of it", path.unlink
    for index, places in indexed_members(cache):
        if any(place.name in image.names or place.sha256 in image.stored_sha256s for place in places):
            yield f"{index}: the names in a tar file, which is read again when needed", index.unlink
    versions = cache / "versions"
    if versions.exists():
        yield f"{versions}: reports of versions; fetched again when needed", partial(shutil.rmtree, versions)
    if any(name in image.names for name, _, _ in stored_probes(cache)):
        yield f"{cache}: its sha256, size and hash", partial(erase_probes, cache, image.names)


def traces_in_remote_cache(image: ErasedImage, remote: Store) -> Iterator[tuple[str, Callable[[], object]]]:
    """As `traces_in_cache`, of the store through which caches exchange what they have computed."""
    for index in incomplete_objects(remote):
        yield f"{remote.where(index)}: features that were never finished", partial(remote.delete, index)
    for index, keys in read_indexes(remote, complete_shards(remote)):
        if rows := [key for key in keys if image_of(key) in image.sha256s]:
            yield (
                f"{remote.where(index)}: {len(rows)} rows of features",
                partial(remove_remote_images, remote, index, image.sha256s),
            )
    for key, found in sent_probes(remote):
        if rows_of(found, image.names):
            yield (
                f"{remote.where(key)}: its sha256, size and hash",
                partial(erase_rows, remote, key, found, image.names),
            )


def read_table(store: Store, key: str) -> pd.DataFrame:
    """A CSV file of the store with every cell as text."""
    return pd.read_csv(io.BytesIO(store.get(key)), dtype="str", keep_default_na=False)


def _folders_to_search(keys: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Folders with their files that can mention an image: those of runs come last, and of them the last stage first."""
    folders: dict[str, list[str]] = {}
    for key in keys:
        parts = key.split("/")
        if parts[0] == "runs" and len(parts) > 3 and key.endswith(KINDS):
            folders.setdefault("/".join(parts[:3]), []).append("/".join(parts[3:]))
        elif key.startswith(OUTSIDE_RUNS) or (parts[0] in {"registry", "reports"} and key.endswith(".html")):
            folders.setdefault("/".join(parts[:-1]), []).append(parts[-1])
    turn = {stage: at for at, stage in enumerate(reversed(STAGES))}
    for folder in sorted(folders, key=lambda folder: turn.get(folder.partition("runs/")[2].rpartition("/")[2], -1)):
        yield folder, sorted(folders[folder], key=lambda name: (KINDS.index(Path(name).suffix), name))


def _sheets_with(image: ErasedImage, keys: list[str], store: Store) -> tuple[set[str], bytes, list[str], str]:
    """The keys of sheets with the image's face, an empty sheet, and the data URIs of the former and the latter."""
    with tempfile.TemporaryDirectory() as scratch:
        sheet = Path(scratch, "sheet.png")
        empty = figures.face_sheet([], title="Emptied: a face on this sheet was erased on request")
        figures.save(empty, sheet)
        blank, blank_uri = sheet.read_bytes(), png_uri(sheet)
        shown, uris = {key for key in keys if _shows(image, key, store)}, []
        for key in shown:
            store.fetch(key, sheet)
            uris.append(png_uri(sheet))
    return shown, blank, uris, blank_uri


def _shows(image: ErasedImage, key: str, store: Store) -> bool:
    """Whether the file is a sheet of faces with this one on it."""
    _, run, *name = key.split("/")
    if not key.startswith("runs/") or "/".join(name) not in SHEETS:
        return False
    source, rows_shown = SHEETS["/".join(name)]
    table = read_table(store, f"runs/{run}/{source}")
    for column in {"real_age", "finetune", "champion"} & set(table):
        table[column] = pd.to_numeric(table[column])
    return bool(rows_shown(table)["sha256"].isin(image.sha256s).any())
