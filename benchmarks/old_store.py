"""What a look at the store costs after years: requests, and seconds where each takes 30 ms, as in a bucket.

    python -m benchmarks.old_store

Writes a store with 5,000 runs and 500 promotions into a temporary folder (some minutes), indexes it, and looks at it;
prints the table and writes it to `benchmarks/old_store.json`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from age_tasks.maintenance.reindex import reindex
from age_tasks.reports.compare_page import compare_page
from age_tasks.runs.run import StoredRun
from age_tasks.store.base import Entry
from age_tasks.store.files import FileStore
from tests.support.counted import CountingStore
from tests.support.looks import LOOKS
from tests.support.old_store import put_runs
from tests.support.records import put_record

SECONDS = 0.03  # of a request
TIMES = 3  # each look; the fastest counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--promoted-every", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        put_runs(root, given.runs, given.promoted_every)
        start = time.perf_counter()
        print(f"indexed {reindex(FileStore(root))} in {time.perf_counter() - start:.0f} s")
        pack = next(iter(FileStore(root).entries("index/runs/"))).size
        rows = looked(root, given.runs)
    found = {"runs": given.runs, "promotions": given.runs // given.promoted_every, "pack_bytes": pack, "looks": rows}
    (Path(__file__).parent / "old_store.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"pack of the runs: {pack / 1e3:.0f} kB")
    for row in rows:
        print(f"| {row['look']} | {row['requests']} | {row['seconds']:.2f} |")


def looked(root: Path, runs: int) -> list[dict[str, object]]:
    """Requests and seconds of each look."""
    keys = [f"run{runs - 1 - at:05d}" for at in range(4)]
    looks = LOOKS | {
        "page that compares four runs": lambda store, _: compare_page([StoredRun(key, store) for key in keys]),
        "write of a record": lambda store, _: put_record(store, "publish", keys[0]),
    }
    rows: list[dict[str, object]] = []
    for name, look in looks.items():
        seconds = []
        for _ in range(TIMES):
            store, start = SlowStore(FileStore(root)), time.perf_counter()
            look(store, root)
            seconds.append(time.perf_counter() - start)
        rows.append({"look": name, "requests": len(store.asked), "seconds": round(min(seconds), 2)})
    return rows


class SlowStore(CountingStore):
    """A store whose every request takes as long as in a bucket."""

    def get(self, key: str) -> bytes:
        time.sleep(SECONDS)
        return super().get(key)

    def fetch(self, key: str, to: Path) -> None:
        time.sleep(SECONDS)
        super().fetch(key, to)

    def entry(self, key: str) -> Entry:
        time.sleep(SECONDS)
        return super().entry(key)

    def entries(self, prefix: str = "", after: str = "", limit: int | None = None) -> Iterator[Entry]:
        before = len(self.asked)
        found = list(super().entries(prefix, after, limit))
        time.sleep(SECONDS * (len(self.asked) - before))
        return iter(found)

    def exists(self, key: str) -> bool:
        time.sleep(SECONDS)
        return super().exists(key)

    def put(self, key: str, source: bytes | Path) -> None:
        time.sleep(SECONDS)
        super().put(key, source)

    def delete(self, key: str) -> None:
        time.sleep(SECONDS)
        super().delete(key)


if __name__ == "__main__":
    main()
