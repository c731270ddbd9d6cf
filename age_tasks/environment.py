"""Where labels, images, the store and the cache are: the `AGE_*` environment variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from age_tasks.errors import SettingsError
from age_tasks.resources import state_folder
from age_tasks.store.addresses import check_address

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Locations:
    """Each of labels, images and store is a path or an `s3://` address; the cache is a local folder."""

    labels: str
    images: str
    store: str
    cache: Path

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Locations":
        """Read `AGE_LABELS`, `AGE_IMAGES`, `AGE_STORE`, `AGE_CACHE`.

        Images default to the folder `images` beside the labels, store and cache to `.age/` in the
        checkout, or to the user's data folder where the package is installed.

        Raises:
            SettingsError: an address with a password in it.
        """
        labels = check_address(env.get("AGE_LABELS", ""))
        return cls(
            labels=labels,
            images=check_address(env.get("AGE_IMAGES", "")) or _beside(labels, "images"),
            store=check_address(env.get("AGE_STORE", "")) or (state_folder(".age") / "store").as_uri(),
            cache=Path(env.get("AGE_CACHE", "") or state_folder(".age") / "cache").expanduser().absolute(),
        )

    def require_labels(self) -> str:
        """The labels' address.

        Raises:
            SettingsError: `AGE_LABELS` is not set.
        """
        if not self.labels:
            raise SettingsError(
                "no labels given: set AGE_LABELS to a labels.csv (file_name,real_age), a path or an s3:// address; "
                "`python -m age_tasks sample --out faces` draws a set to try"
            )
        return self.labels


def _beside(labels: str, name: str) -> str:
    if not labels:
        return ""
    return f"{labels.rpartition('/')[0]}/{name}" if "://" in labels else str(Path(labels).parent / name)
