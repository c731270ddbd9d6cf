"""Drawn faces to try the workflow on."""
