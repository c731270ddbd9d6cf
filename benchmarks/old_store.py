"""What a look at the store costs after years: requests, and seconds where each takes 30 ms, as in a bucket.

    python -m benchmarks.old_store

Writes a store with 5,000 runs and 500 promotions into a temporary folder (a minute or more), indexes it, and looks at
it; prints the table and writes it to `benchmarks/old_store.json`. Seconds are those of computing, measured as time of
the processor so that other work on the machine counts less, and 30 ms for each request, one after the other. The page
Compare reads its runs at the same time: of its requests, the 30 ms count of those for one run.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from age_tasks.maintenance.reindex import reindex
from age_tasks.reports.compare_page import compare_page
from age_tasks.runs.run import StoredRun
from age_tasks.store.files import FileStore
from tests.support.counted import CountingStore
from tests.support.looks import LOOKS
from tests.support.old_store import put_runs, put_trained
from tests.support.records import put_record

REQUEST_SECONDS = 0.03
MOST_RUNS = 4  # side by side on the page Compare
TIMES = 5  # each look; the fastest counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--promoted-every", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        put_runs(root, given.runs, given.promoted_every)
        start = time.process_time()
        counts = reindex(FileStore(root))
        seconds = time.process_time() - start
        pack = next(iter(FileStore(root).entries("index/runs/"))).size
        rows = [*looked(root, given.runs), *(compared(root, given.runs, count) for count in (2, MOST_RUNS))]
    found = {**counts, "reindex_seconds": round(seconds), "pack_of_runs_bytes": pack, "looks": rows}
    (Path(__file__).parent / "old_store.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"{counts}: indexed in {seconds:.0f} s; the pack of the runs has {pack / 1e3:.0f} kB")
    print("| what | requests | seconds |\n|---|---|---|")
    for row in rows:
        print(f"| {row['look']} | {row['requests']} | {row['seconds']:.2f} |")


def looked(root: Path, runs: int) -> list[dict[str, object]]:
    """Requests and seconds of each look."""
    newest = f"run{runs - 1:05d}"
    looks = LOOKS | {"a stage's record is written": lambda store, _: put_record(store, "publish", newest)}
    rows: list[dict[str, object]] = []
    for name, look in looks.items():
        seconds = []
        for _ in range(TIMES):
            store, start = CountingStore(FileStore(root)), time.process_time()
            look(store, root)
            seconds.append(time.process_time() - start)
        requests = len(store.asked)
        rows.append(
            {"look": name, "requests": requests, "seconds": round(min(seconds) + requests * REQUEST_SECONDS, 2)}
        )
    return rows


def compared(root: Path, runs: int, count: int) -> dict[str, object]:
    """Requests and seconds of the page Compare, of the newest runs."""
    keys = [f"run{number:05d}" for number in range(runs - count, runs)]
    for seed, key in enumerate(keys):
        put_trained(root, key, seed)
    seconds = []
    for _ in range(TIMES):
        stores, start = [CountingStore(FileStore(root)) for _ in keys], time.process_time()
        compare_page([StoredRun(key, store) for key, store in zip(keys, stores, strict=True)])
        seconds.append(time.process_time() - start)
    requests = [len(store.asked) for store in stores]
    waited = max(requests) * REQUEST_SECONDS
    return {
        "look": f"page Compare, {count} runs",
        "requests": sum(requests),
        "seconds": round(min(seconds) + waited, 2),
    }


if __name__ == "__main__":
    main()
