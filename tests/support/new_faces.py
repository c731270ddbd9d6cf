"""Faces without labels."""

from pathlib import Path

from age_tasks.demo.synthetic_faces import draw_sample


def draw_new_faces(folder: Path, count: int, seed: int) -> Path:
    """Draw faces into a folder, under names that no labels have; returns the folder of the images."""
    images = draw_sample(folder, count, seed).images
    for image in sorted(images.iterdir()):
        image.rename(images / f"new-{image.name}")
    return images
