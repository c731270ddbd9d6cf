"""A retraining run: its folder in the store, its records, and how a stage is executed and reused."""
