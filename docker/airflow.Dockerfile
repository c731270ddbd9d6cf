# Airflow with this project's DAGs and plugins; stages run in the image of trainer.Dockerfile. From the checkout's root:
#   docker build -f docker/airflow.Dockerfile -t age-airflow:0.1.0 .
# BASE and the build secrets are those of trainer.Dockerfile.
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS packages
WORKDIR /build
COPY docker/sbom.lock docker/airflow.lock ./
# The extra `airflow` of pyproject.toml without what only stages import (airflow-excludes.txt), pinned by `make lock`.
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,mode=0444 \
    --mount=type=secret,id=pip,target=/etc/pip.conf,mode=0444 \
    python3 -m venv /opt/venv && python3 -m venv /opt/sbom && \
    /opt/venv/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes -r airflow.lock && \
    /opt/sbom/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes -r sbom.lock && \
    /opt/venv/bin/pip uninstall --yes pip setuptools && \
    /opt/sbom/bin/cyclonedx-py environment --output-reproducible -o /opt/venv/sbom.cdx.json /opt/venv/bin/python && \
    { /opt/venv/bin/python -m compileall -qq --invalidation-mode unchecked-hash /opt/venv/lib || true; }

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="age-airflow" org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.source=${SOURCE}
RUN useradd --uid 50000 --gid 0 --no-create-home --home-dir /airflow airflow && \
    install -d -o airflow -g 0 -m 0775 /airflow /logs
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY age_tasks age_tasks
COPY plugins plugins
COPY dags dags
COPY docker/health.py docker/init.sh docker/
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash age_tasks plugins dags
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    AIRFLOW_HOME=/airflow AIRFLOW__LOGGING__BASE_LOG_FOLDER=/logs AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__CORE__DAGS_FOLDER=/app/dags AIRFLOW__CORE__PLUGINS_FOLDER=/app/plugins
USER airflow
CMD ["airflow", "version"]
