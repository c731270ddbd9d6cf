"""Airflow's own modules, imported into the tests' process, with a home of their own."""

import os
import tempfile

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="age-airflow-"))
