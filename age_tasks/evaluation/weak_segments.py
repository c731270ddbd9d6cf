"""Weak segments: test images that share up to two properties, and are predicted worse than all others, beyond chance.

A shallow regression tree (Breiman et al. 1984) on the absolute errors of one half of the test images proposes segments,
as in error analysis by trees (Nushi et al., HCOMP 2018). The other half tests them: on the images that a segment was
found on it looks weak also where it is not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeRegressor

from age_tasks.config import SLICE
from age_tasks.evaluation.bootstrap import differences_of_groups, people_in, people_of
from age_tasks.evaluation.enough import FEW_IMAGES, FEW_PEOPLE, too_few
from age_tasks.evaluation.metrics import estimate
from age_tasks.evaluation.results import WeakSegment
from age_tasks.evaluation.slices import in_digits, slice_labels

AGE = "age"
DEPTH = 2  # properties that describe a segment
ENOUGH_IMAGES, ENOUGH_PEOPLE = 4 * FEW_IMAGES, 4 * FEW_PEOPLE  # for two parts of two halves


@dataclass(frozen=True)
class _Property:
    """A column of the tree's input.

    Args:
        name: of the age, or of a slice.
        value: the value that the slice has where the column is 1; None for a number.
        cells: shape (images,).
    """

    name: str
    value: str | None
    cells: np.ndarray


@dataclass(frozen=True)
class _Condition:
    """Whether a property is above a bound, or not."""

    property: _Property
    bound: float
    above: bool


@dataclass(frozen=True)
class _Split:
    """The worse side of a split of the tree.

    Args:
        node: the number of this side.
        parent: the number of what is split.
        conditions: what the images of this side have in common.
        inside, beside: masks of this side and of the other, shape (images,).
    """

    node: int
    parent: int
    conditions: tuple[_Condition, ...]
    inside: np.ndarray
    beside: np.ndarray


def weak_segments(
    predictions: pd.DataFrame, samples: int, seed: int
) -> tuple[tuple[WeakSegment, ...] | None, np.ndarray]:
    """The weak segments of the fine-tuned model, the weakest first.

    A segment is listed if its error is larger, beyond chance, than that of all other images and than that beside its
    last condition: else that condition would say nothing.

    Args:
        predictions: columns real_age and finetune (years); `slice:<name>`, as text; person if it is known.
        samples: resamples behind the intervals.
        seed: of the halves, of the tree's choice between equal splits, and of the resamples.

    Returns:
        The segments, None if there are fewer than `ENOUGH_IMAGES`, or than `ENOUGH_PEOPLE` where they are known; and of
        each image in which it is, counted from 1, or 0, shape (images,).
    """
    nowhere, people = np.zeros(len(predictions), int), people_of(predictions)
    if len(predictions) < ENOUGH_IMAGES or (people is not None and len(np.unique(people)) < ENOUGH_PEOPLE):
        return None, nowhere
    loss = (predictions["finetune"] - predictions["real_age"]).abs().to_numpy("float64")
    searched = _half(np.arange(len(predictions)) if people is None else people, seed)
    tested = ~searched
    splits = [
        split
        for split in _splits(list(_properties(predictions)), loss, searched, seed)
        if all(_enough(side & tested, people) for side in (split.inside, split.beside))
    ]
    if not splits:
        return (), nowhere
    pairs = [(split.inside[tested], other[tested]) for split in splits for other in (split.beside, ~split.inside)]
    differences = differences_of_groups(loss[tested], pairs, samples, seed, _renumbered(people, tested))
    beside, elsewhere = differences[::2], differences[1::2]
    beyond_chance = [at for at in range(len(splits)) if beside[at, 1] > 0 and elsewhere[at, 1] > 0]
    refined = {splits[at].parent for at in beyond_chance}
    weak = sorted((at for at in beyond_chance if splits[at].node not in refined), key=lambda at: -elsewhere[at, 0])
    segments, number = [], nowhere
    for place, at in enumerate(weak, start=1):
        inside = splits[at].inside
        number = np.where(inside, place, number)
        segments.append(
            WeakSegment(
                segment=_in_words(splits[at].conditions),
                images=int((inside & tested).sum()),
                mae=round(float(loss[inside & tested].mean()), 4),
                mae_elsewhere=round(float(loss[~inside & tested].mean()), 4),
                difference=estimate(elsewhere[at]),
            )
        )
    return tuple(segments), number


def _half(people: np.ndarray, seed: int) -> np.ndarray:
    """All images of a random half of the people, as a mask of shape (images,)."""
    count = int(people.max()) + 1
    return np.isin(people, np.random.default_rng(seed).permutation(count)[: count // 2])


def _enough(part: np.ndarray, people: np.ndarray | None) -> bool:
    """Whether a part of the images has enough images, and enough people where they are known."""
    return not too_few(int(part.sum()), people_in(part, people))


def _renumbered(people: np.ndarray | None, part: np.ndarray) -> np.ndarray | None:
    """The people in a part of the images, numbered from 0 on."""
    return None if people is None else np.unique(people[part], return_inverse=True)[1]


def _properties(predictions: pd.DataFrame) -> Iterator[_Property]:
    """The age and each slice: a number where all images have one, or else a property for each of its values."""
    yield _Property(AGE, None, predictions["real_age"].to_numpy("float64"))
    for column in predictions.columns[predictions.columns.str.startswith(SLICE)]:
        name = column.removeprefix(SLICE)
        numbers = pd.to_numeric(predictions[column], errors="coerce")
        if (numbers.abs() <= np.finfo("float32").max).all():  # what the tree computes with; not for a missing one
            yield _Property(name, None, numbers.to_numpy("float64"))
            continue
        values = slice_labels(predictions, [name])[name]
        for value in sorted(values.unique()):
            yield _Property(name, value, (values == value).to_numpy("float64"))


def _splits(properties: Sequence[_Property], loss: np.ndarray, searched: np.ndarray, seed: int) -> Iterator[_Split]:
    """The worse side of each split of a tree that is grown on the images of the mask `searched`."""
    table = np.column_stack([each.cells for each in properties])
    grower = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=FEW_IMAGES, random_state=seed)
    grower.fit(table[searched], loss[searched])
    tree, passes = grower.tree_, grower.decision_path(table).toarray().astype(bool)
    paths: dict[int, tuple[_Condition, ...]] = {0: ()}
    for node in range(tree.node_count):  # a node comes before those below it
        sides = {int(tree.children_left[node]): False, int(tree.children_right[node]): True}
        if len(sides) == 1:  # a leaf
            continue
        for side, above in sides.items():
            split = _Condition(properties[tree.feature[node]], float(tree.threshold[node]), above)
            paths[side] = (*paths[node], split)
        better, worse = sorted(sides, key=lambda side: loss[passes[:, side] & searched].mean())
        yield _Split(worse, node, paths[worse], passes[:, worse], passes[:, better])


def _in_words(conditions: Sequence[_Condition]) -> str:
    """The conditions, such as `age 60 and more, sex = male`; the age first."""
    names = sorted({each.property.name for each in conditions}, key=lambda name: (name != AGE, name))
    return ", ".join(_of_one_name([each for each in conditions if each.property.name == name]) for name in names)


def _of_one_name(conditions: Sequence[_Condition]) -> str:
    """The conditions on one property: a range of numbers, with ends that occur; or values that it has or has not."""
    name, cells = conditions[0].property.name, conditions[0].property.cells
    if conditions[0].property.value is not None:
        has = [each.property.value for each in conditions if each.above]
        not_these = " or ".join(str(each.property.value) for each in conditions)
        return f"{name} = {has[0]}" if has else f"{name} other than {not_these}"
    low = max((each.bound for each in conditions if each.above), default=-np.inf)
    high = min((each.bound for each in conditions if not each.above), default=np.inf)
    computed = cells.astype("float32").astype("float64")  # as the tree does: 20240115 is 20240116 there
    inside, below, over = cells[(computed > low) & (computed <= high)], cells[computed <= low], cells[computed > high]
    beside = [*below[below == below.max(initial=-np.inf)][:1], *over[over == over.min(initial=np.inf)][:1]]
    first, last, *_ = in_digits([float(number) for number in (inside.min(), inside.max(), *beside)])
    if below.size and over.size:
        return f"{name} {first} to {last}"
    return f"{name} {first} and more" if below.size else f"{name} up to {last}"
