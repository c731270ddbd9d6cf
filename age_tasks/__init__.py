"""Age retraining: the stages that take labelled faces to a published, evaluated age model."""

import os

__version__ = "0.1.0"  # the only place: pyproject.toml reads it, a test compares the image tags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported, wherever that is
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
