"""The networks whose features the run needs: the one that is trained, and the champion's."""

from pathlib import Path

import keras

from age_tasks.config import Config, stored_augmentation
from age_tasks.errors import SettingsError
from age_tasks.registry.promotions import Manifest, Promotion
from age_tasks.training.network import build_model, cut_point, freeze, load_network, suffixes


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


def require_single(network: keras.Model, champion: Promotion) -> None:
    """Check that a training can start from the champion's network.

    Raises:
        SettingsError: it is the average of several networks, none of which has the champion's errors.
    """
    if parts := suffixes(network):
        raise SettingsError(
            f"finetune.start_from = champion: the champion {champion.name} is the average of {len(parts)} networks "
            "(finetune.combine), of which none is the champion; start from the baseline "
            "(--set finetune.start_from=baseline)"
        )
