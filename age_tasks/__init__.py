"""Age retraining: the stages that take labelled faces to a published, evaluated age model."""

__version__ = "0.1.0"  # the only place: pyproject.toml reads it, a test compares the image tags
