"""The stages, one module each; `age_tasks.pipeline` holds their order and what each one depends on."""

import age_tasks.training  # noqa: F401  light; sets TensorFlow's variables before a stage imports Keras
