"""Predictions by a published version, checks of their inputs, and the export to LiteRT."""
