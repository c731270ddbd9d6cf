"""Removing what is no longer needed, and erasing one image."""
