"""Commands that remove what is no longer needed or what is stored of an image, and that mend the index."""

from typing import Annotated

import typer

from age_tasks.cli.command import CACHE, MAINTENANCE, command
from age_tasks.environment import Locations
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path

Delete = Annotated[bool, typer.Option("--delete", help="Remove what is listed; default: only list it.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""

    @command(app, "prune", MAINTENANCE)
    def prune(
        keep: Annotated[int, typer.Option(metavar="RUNS", help="The number of newest runs to keep.")] = 10,
        delete: Delete = False,
    ) -> int:
        """List what store and cache no longer need; remove it with --delete."""
        from age_tasks.data.image_copies import unused_copies
        from age_tasks.data.image_shards import unused_indexes
        from age_tasks.data.remote_cache import remote_cache
        from age_tasks.maintenance import prune

        locations = Locations.from_env()
        store = open_store(locations.store)
        found = prune.prunable(store, keep)
        on_disk = [local_path(store.url)] if store.url.startswith("file:") else []
        remote = remote_cache()
        unfinished = [(remote, entry) for entry in prune.unneeded_in_remote_cache(remote)] if remote else []
        temporaries = prune.stale_temporaries({locations.cache, *on_disk})
        copies = unused_copies(locations.cache, prune.UNUSED_SECONDS)
        copies |= unused_indexes(locations.cache, prune.UNUSED_SECONDS)
        sizes = {name: sum(entry.size for entry in entries) for name, entries in found.items()}
        sizes |= {f"{path}, incomplete write": size for path, size in temporaries.items()}
        if copies:
            sizes[f"{len(copies)} local copies of images, unused for 30 days"] = sum(copies.values())
        sizes |= {f"{where.where(entry.key)}, no longer read": entry.size for where, entry in unfinished}
        for name, size in sizes.items():
            print(f"{size / 1e6:10.1f} MB  {name}")
        if delete:
            prune.delete(store, found)
            for path in (*temporaries, *copies):
                path.unlink(missing_ok=True)
            for where, entry in unfinished:
                where.delete(entry.key)
        verdict = "removed" if delete else "could be removed; nothing was: add --delete"
        print(f"{sum(sizes.values()) / 1e6:10.1f} MB  {verdict}")
        return 0

    @command(app, "forget", MAINTENANCE, fills=(CACHE,))
    def forget(
        file_name: Annotated[
            str,
            typer.Argument(metavar="FILE_NAME", help="The image's name in the labels, or the sha256 of its content."),
        ],
        delete: Delete = False,
    ) -> int:
        """List what is stored of one image: its rows, thumbnails and cached features; erase it with --delete."""
        from age_tasks.data.remote_cache import remote_cache
        from age_tasks.maintenance.forget import forget
        from age_tasks.maintenance.traces import find_image

        locations = Locations.from_env()
        store, cache = open_store(locations.store), locations.cache
        remote = remote_cache()
        for line in forget(find_image(file_name, store, cache, remote), store, cache, delete, remote):
            print(line, flush=True)
        return 0

    @command(app, "reindex", MAINTENANCE)
    def reindex() -> int:
        """Build the index of the store anew, from records and entries: after changes by hand, or an older version."""
        from age_tasks.maintenance.reindex import reindex

        found = reindex(open_store(Locations.from_env().store))
        print("indexed: " + ", ".join(f"{count} {name}" for name, count in found.items()))
        return 0
