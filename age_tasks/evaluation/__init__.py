"""Metrics of predictions, intervals, comparison of models, label issues and the promotion rules: pure functions."""
