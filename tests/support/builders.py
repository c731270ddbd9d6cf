"""Versions, candidates and promotions for tests, without a training."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

from age_tasks.config import AugmentationSettings
from age_tasks.registry.promotions import promote, publish_version
from age_tasks.runs.run import Workspace
from age_tasks.store import open_store
from age_tasks.store.base import Store
from tests.support.metrics import CHAMPION, METRICS, metrics_of

FACTS = {"gate": {"verdict": "passed: all 7 rules hold"}, "augmentation": AugmentationSettings().model_dump()}
NOT_EXPORTED = {"file": None, "largest_difference": None, "bound": 0.05, "images": 0, "problem": "left out here"}


def publish(store: Store, version: str, folder: Path) -> None:
    """Publish a version of one small file, which is written into `folder`."""
    model = folder / f"{version}.keras"
    model.write_bytes(version.encode())
    publish_version(store, version, {"model.keras": model}, {"run": version, "test_mae": 6.5})


def promoted(store: Store, folder: Path, *versions: str) -> None:
    """Publish and promote these versions, one after another."""
    for version in versions:
        publish(store, version, folder)
        promote(store, version, "gate passed", run=version)


def promote_at_once(store: Store, folder: Path, count: int) -> list[str]:
    """Publish that many versions and promote them at the same moment, each in its own process; returns their names."""
    spawn = multiprocessing.get_context("spawn")
    start, versions = spawn.Barrier(count), [f"run{number}" for number in range(count)]
    racers = [spawn.Process(target=_promote, args=(store.url, version, folder, start)) for version in versions]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * count
    return versions


def _promote(url: str, version: str, folder: Path, start: Barrier) -> None:
    store = open_store(url)
    publish(store, version, folder)
    start.wait()
    promote(store, version, "gate passed", run=version)


def candidate(run: Workspace, model: bytes, compared_with: str | None) -> dict[str, Path]:
    """A model and its metrics, as the stages before `publish` left them."""
    (run.scratch / "model.keras").write_bytes(model)
    finetune = METRICS["finetune"] | {"mae": {"value": 6.5, "low": 6.1, "high": 6.9}}
    champion = CHAMPION | {"version": compared_with} if compared_with else None
    (run.scratch / "metrics.json").write_bytes(metrics_of(finetune=finetune, champion=champion).to_bytes())
    return {name: run.scratch / name for name in ("model.keras", "metrics.json")}
