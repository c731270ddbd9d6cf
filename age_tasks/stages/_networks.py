"""The networks of a run: the one that is trained, the champion's, and those that a warm start begins with."""

from collections.abc import Mapping
from pathlib import Path

import keras

from age_tasks.config import Config, stored_augmentation
from age_tasks.errors import SettingsError
from age_tasks.registry.promotions import Manifest, Promotion
from age_tasks.stages.preconditions import require_as_many_networks
from age_tasks.training.network import build_model, cut_point, freeze, load_network, suffixes, weighted_layers


def baseline_network(config: Config) -> tuple[keras.Model, keras.KerasTensor]:
    """A new network with a frozen backbone, and its tensor where fine-tuning will start.

    The features at that tensor come from the same pass over the images as those of the baseline.

    Raises:
        WeightsError: the pretrained weights can't be loaded.
    """
    model = build_model(config.model, config.baseline.seed)
    freeze(model, config.finetune.last_layers)
    finetune_cut = cut_point(model)
    freeze(model, 0)
    return model, finetune_cut


def champion_network(folder: Path, manifest: Manifest, config: Config) -> tuple[keras.Model, Config]:
    """The network of a published version, and the settings with the augmentation that it was trained with.

    Args:
        folder: with the files of the version.
        manifest: of the version.

    Raises:
        WeightsError: its model can't be loaded safely.
    """
    stored = stored_augmentation(manifest.model_dump(include={"augmentation", "views"}))
    return load_network(folder / "model.keras"), config.model_copy(update={"augmentation": stored})


def start_from_champion(model: keras.Model, theirs: keras.Model, champion: Promotion, seeds: int, number: int) -> None:
    """Give `model` the champion's weights; where it averages several networks, those of one of them.

    Args:
        theirs: the champion's network.
        seeds: the number of trainings.
        number: of this training, counted from 0: as many networks as are averaged are trained on, one by one.

    Raises:
        SettingsError: the champion is another network, or averages another number of networks.
    """
    require_as_many_networks(champion, len(suffixes(theirs)), seeds)
    ours, other = weighted_layers(model), weighted_layers(theirs, number)
    if _shapes(ours) != _shapes(other) or model.input_shape != theirs.input_shape:
        raise SettingsError(
            f"finetune.start_from = champion: the champion {champion.name} is another network ({theirs.name}, "
            f"{len(other)} layers, images of {theirs.input_shape[1]} pixels) than this run's ({model.name}, "
            f"{len(ours)} layers, {model.input_shape[1]} pixels); start from the baseline "
            "(--set finetune.start_from=baseline), or train the champion's"
        )
    for name, layer in ours.items():
        layer.set_weights(other[name].get_weights())


def _shapes(layers: Mapping[str, keras.layers.Layer]) -> dict[str, list[tuple[int, ...]]]:
    return {name: [tuple(weight.shape) for weight in layer.weights] for name, layer in layers.items()}
