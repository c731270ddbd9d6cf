"""Age retraining: the stages that take labelled faces to a published, evaluated age model."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported, wherever that is
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
