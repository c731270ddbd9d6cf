"""Airflow's side of the retraining workflow."""
