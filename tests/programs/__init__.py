"""Programs that tests run in processes of their own, with `python -m tests.programs.NAME`.

Modules for `tests.support.airflow.AirflowProcess` have functions instead: one process imports Airflow once and executes
many of them.
"""
