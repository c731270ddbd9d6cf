"""The networks, the frozen-prefix feature cache, and one training."""

import os

# Read when TensorFlow and Keras are first imported, which modules of this package do.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
