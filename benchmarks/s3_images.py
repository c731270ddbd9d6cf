"""Images a second from a bucket that answers late: fetched, and probed as by the snapshot; single files and tar files.

`python -m benchmarks.s3_images [IMAGES] [SECONDS]`: the bucket's server is a process of its own, on this machine; each
of its answers is late by SECONDS.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.probes import probe_images
from age_tasks.demo.synthetic_faces import draw_sample

DRAWN = 200  # different faces; all others are copies of these with other bytes at the end
IN_A_TAR = 500
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}


def main(images: int = 5_000, late: float = 0.02) -> None:
    """Measure, and print the result as JSON."""
    with tempfile.TemporaryDirectory(prefix="age-bucket-") as root, slow_bucket(draw(Path(root), images), late):
        files, tars = measured("s3://bucket/faces", Path(root)), measured_tars("s3://bucket/tars/*.tar", Path(root))
    print(json.dumps({"images": images, "late": late, **files, **tars}, indent=2))


def draw(root: Path, images: int) -> Path:
    """A folder of small JPEG files, each of its own content, below `faces/`; below `tars/` the same in tar files."""
    drawn = draw_sample(root / "drawn", min(images, DRAWN), seed=1)
    contents = [path.read_bytes() for path in sorted(drawn.images.iterdir())]
    folder = root / "bucket" / "faces"
    folder.mkdir(parents=True)
    for number in range(images):
        (folder / f"{number:06d}.jpg").write_bytes(contents[number % len(contents)] + number.to_bytes(4, "big"))
    (root / "bucket" / "tars").mkdir()
    for start in range(0, images, IN_A_TAR):
        with tarfile.open(root / "bucket" / "tars" / f"{start:06d}.tar", "w") as tar:
            for number in range(start, min(start + IN_A_TAR, images)):
                tar.add(folder / f"{number:06d}.jpg", f"{number:06d}.jpg")
    return root / "bucket"


@contextlib.contextmanager
def slow_bucket(folder: Path, late: float) -> Iterator[str]:
    """Serve a folder as a bucket, from a process of its own; the AWS variables of this process lead to it."""
    command = [sys.executable, "-m", "benchmarks.slow_bucket", str(folder), str(late)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            url = server.stdout.readline().strip()
            os.environ.update(KEYS | {"AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_DISABLED": "true"})
            yield url
        finally:
            server.terminate()


def measured(location: str, root: Path) -> dict[str, object]:
    """Images a second, each with an empty cache, and the load of the machine."""
    folder = ImageFolder(location, root / "fetched")
    names = folder.names()
    began, used = time.perf_counter(), _processor_seconds()
    folder.fetch_all(names)
    seconds, used = time.perf_counter() - began, _processor_seconds() - used
    began = time.perf_counter()
    probe_images(ImageFolder(location, root / "probed"), names, root / "probed")
    return {
        "fetched_per_second": round(len(names) / seconds),
        "processor_ms_per_fetch": round(1000 * used / len(names), 2),
        "listed_and_probed_per_second": round(len(names) / (time.perf_counter() - began)),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def measured_tars(location: str, root: Path) -> dict[str, object]:
    """Images a second of tar files: read through, and then one by one by their places."""
    began = time.perf_counter()
    folder = ImageFolder(location, root / "tars")
    names, seconds = folder.names(), time.perf_counter() - began
    folder.fetch_again(names)
    began = time.perf_counter()
    folder.fetch_all(names)
    return {
        "of_tar_files_per_second": round(len(names) / seconds),
        "of_tar_files_by_place_per_second": round(len(names) / (time.perf_counter() - began)),
    }


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(*(cast(given) for cast, given in zip((int, float), sys.argv[1:], strict=False)))
