"""Predictions by a published version, and its export."""
