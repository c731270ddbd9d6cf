"""In which order images are best labelled: where the model is unsure, and what is unlike everything labelled so far."""

import numpy as np
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin_min

SAMPLE = 1000  # labelled images behind the unit of distance


def labelling_order(
    features: np.ndarray, widths: np.ndarray, labelled: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Choose images one by one: each time the one with the largest product of interval width and distance.

    The distance is that to the nearest image that is labelled or has been chosen, so that those chosen differ from each
    other too: the greedy solution of the k-center problem (Gonzalez 1985; for labelling: Sener and Savarese 2018,
    "Active learning for convolutional neural networks: a core-set approach"), with the width as weight.

    Args:
        features: of the images to choose from, shape (images, width).
        widths: of their prediction intervals, in years, shape (images,).
        labelled: features of the labelled images, shape (labelled images, width).
        count: the most images to choose.

    Returns:
        The positions of the chosen images, the first to label first, and the distance of each when it was chosen, where
        1 is the median distance of a labelled image from the nearest other. Images at distance 0 are not chosen.
    """
    unit = _usual_distance(labelled)
    distances = pairwise_distances_argmin_min(features, labelled)[1] / unit
    order: list[int] = []
    chosen_at: list[float] = []
    while len(order) < min(count, len(features)):
        best = int(np.argmax(widths * distances))
        if distances[best] <= 0:
            break
        order.append(best)
        chosen_at.append(float(distances[best]))
        distances = np.minimum(distances, np.linalg.norm(features - features[best], axis=1) / unit)
        distances[best] = 0
    return np.array(order, dtype=int), np.array(chosen_at)


def _usual_distance(labelled: np.ndarray) -> float:
    """The median distance of a labelled image from the nearest other, of a sample; 1 if there is none."""
    sample = labelled[:: max(len(labelled) // SAMPLE, 1)]
    nearest = np.sort(pairwise_distances(sample), axis=1)[:, 1:2]
    return float(np.median(nearest)) or 1.0 if nearest.size else 1.0
