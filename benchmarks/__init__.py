"""Measurements of speed and accuracy, and of the promotion rules."""
