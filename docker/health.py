"""The health check of a container of docker-compose.yaml: `python docker/health.py [COMPONENT]`.

Airflow's API server knows when the scheduler, the DAG processor and the triggerer last reported. To ask it costs 0.1 s;
`airflow jobs check` starts a whole Airflow.
"""

import json
import os
import sys
from urllib.parse import urljoin
from urllib.request import urlopen

health = json.load(urlopen(urljoin(os.environ["AIRFLOW__EDGE__API_URL"], "/api/v2/monitor/health"), timeout=10))
component = sys.argv[1] if len(sys.argv) > 1 else "metadatabase"
if health[component]["status"] != "healthy":
    sys.exit(f"{component}: {health[component]}")
