"""The rows of a table as a training sees them: their order and augmentations in an epoch, their targets and weights."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from age_tasks.config import FinetuneSettings, TrainingSettings
from age_tasks.training.feature_cache import row_key

# From ages in years, float32 of shape (batch,), to what the outputs of a network are compared with.
Targets = Callable[[np.ndarray], np.ndarray | dict[str, np.ndarray]]


WHOLE = (0.0, 0.0, 1.0, 1.0)  # the box of a whole image
_CROPS = 1  # sets what crops are drawn from apart from what the order is drawn from


@dataclass(frozen=True)
class RandomCrops:
    """Random squares of images, of the images' aspect ratio.

    Args:
        least_area: of a square, as a fraction of the image.
        flip: whether half of them are mirrored.
    """

    least_area: float
    flip: bool

    @classmethod
    def of(cls, settings: TrainingSettings) -> "RandomCrops | None":
        """Those of a training; None if it takes images as they are."""
        if not isinstance(settings, FinetuneSettings) or not settings.at_random:
            return None
        return cls(settings.random_crop, settings.random_flip)

    def boxes(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """As many boxes, float32 of shape (count, 4): top, left, bottom and right as fractions of the image's sides.

        Of a mirrored one left and right are exchanged.
        """
        side = np.sqrt(rng.uniform(self.least_area, 1, count))
        top, left = rng.uniform(0, 1 - side, (2, count))
        right = left + side
        mirrored = (rng.random(count) < 0.5) & self.flip
        sides = [top, np.where(mirrored, right, left), top + side, np.where(mirrored, left, right)]
        return np.stack(sides, axis=1).astype("float32")


@dataclass(frozen=True)
class Rows:
    """Rows of a table, and how they are drawn.

    Args:
        table: columns `sha256`, `real_age` (years), `augmentation` where it is not 0, and `weight` where it is not 1.
        targets: from ages to what the outputs are compared with.
        seed: of the order, another one in each epoch; None keeps the order of the table.
        augmentations: number of cached augmentations; one is drawn at random per image and epoch.
        crops: the rows are pixels, of which boxes are drawn at random per image and epoch; whole ones without a seed.
    """

    table: pd.DataFrame
    targets: Targets
    seed: int | None = None
    augmentations: int = 1
    crops: RandomCrops | None = None

    def __len__(self) -> int:
        return len(self.table)

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of the rows in an epoch, counted from 0, and the augmentation of each row; int64, shape (rows,)."""
        count = len(self)
        order, drawn = np.arange(count), np.zeros(count, "int64")
        if "augmentation" in self.table:
            drawn = self.table["augmentation"].to_numpy("int64")
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, epoch])
            order = rng.permutation(count)
            if self.augmentations > 1:
                drawn = rng.integers(self.augmentations, size=count)
        return order, drawn

    def boxes(self, epoch: int) -> np.ndarray | None:
        """The box of each row in an epoch, counted from 0, see `RandomCrops.boxes`; None if rows are no pixels."""
        if self.crops is None:
            return None
        if self.seed is None:
            return np.tile(np.array(WHOLE, "float32"), (len(self), 1))
        return self.crops.boxes(len(self), np.random.default_rng([self.seed, epoch, _CROPS]))

    def keys(self, chosen: Iterable[int], drawn: np.ndarray) -> list[str]:
        """The keys of the features of some rows.

        Args:
            chosen: numbers of rows of the table.
            drawn: the augmentation of each row.
        """
        return [row_key(self._sha256s[row], drawn[row]) for row in chosen]

    def answers(self, chosen: np.ndarray) -> tuple[Any, ...]:
        """What Keras takes beside the inputs of some rows: targets and, where rows have weights, weights.

        Args:
            chosen: numbers of rows of the table.
        """
        targets = self.targets(self._ages[chosen])
        if self._weights is None:
            return (targets,)
        weights = self._weights[chosen]
        # Once for each output that has a target of its own.
        return targets, dict.fromkeys(targets, weights) if isinstance(targets, dict) else weights

    @cached_property
    def _sha256s(self) -> list[str]:
        return list(self.table["sha256"])

    @cached_property
    def _ages(self) -> np.ndarray:
        return self.table["real_age"].to_numpy("float32")

    @cached_property
    def _weights(self) -> np.ndarray | None:
        """None if all rows count alike."""
        return self.table["weight"].to_numpy("float32") if "weight" in self.table else None
