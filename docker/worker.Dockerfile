# An Airflow worker that runs stages itself: Airflow, and what stages train with, in one environment. From the checkout's root:
#   docker compose build
#
# HARDWARE=cpu makes a smaller image for machines without an NVIDIA GPU; the driver is the host's. The packages are those of
# the extras `airflow` and `train` or `gpu` in pyproject.toml; `make lock` pins them in worker-cpu.lock and worker-gpu.lock.
# BASE is any image with Python 3.11 and glibc.
# Behind a proxy with its own certificates, or with a private index: the build secrets `ca` and `pip`, see
# docs/deployment.md. Neither gets into the image.
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS packages
ARG HARDWARE=gpu
WORKDIR /build
COPY docker/sbom.lock docker/worker-cpu.lock docker/worker-gpu.lock ./
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,mode=0444 \
    --mount=type=secret,id=pip,target=/etc/pip.conf,mode=0444 \
    python3 -m venv /opt/venv && python3 -m venv /opt/sbom && \
    /opt/venv/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes -r worker-${HARDWARE}.lock && \
    /opt/sbom/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes -r sbom.lock && \
    /opt/venv/bin/pip uninstall --yes pip setuptools && \
    rm -r /opt/venv/lib/python3.11/site-packages/tensorflow/include && \
    /opt/sbom/bin/cyclonedx-py environment --output-reproducible -o /opt/venv/sbom.cdx.json /opt/venv/bin/python && \
    { /opt/venv/bin/python -m compileall -qq --invalidation-mode unchecked-hash /opt/venv/lib || true; }

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="age-worker" org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.source=${SOURCE}
RUN useradd --uid 50000 --gid 0 --no-create-home --home-dir /airflow airflow && \
    install -d -o airflow -g 0 -m 0775 /airflow /cache
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY age_tasks age_tasks
COPY expectations expectations
COPY plugins plugins
COPY dags dags
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash age_tasks plugins dags
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    AGE_CACHE=/cache KERAS_HOME=/cache/keras MPLCONFIGDIR=/cache/matplotlib \
    AIRFLOW_HOME=/airflow AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__CORE__DAGS_FOLDER=/app/dags AIRFLOW__CORE__PLUGINS_FOLDER=/app/plugins
USER airflow
CMD ["airflow", "edge", "worker", "--queues", "gpu"]
