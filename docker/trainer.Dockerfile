# The image that stages run in when AGE_RUNTIME is docker or kubernetes. From the checkout's root:
#   docker build -f docker/trainer.Dockerfile -t age-trainer:0.1.0 .
#
# HARDWARE=cpu makes a smaller image for machines without an NVIDIA GPU; the driver is the host's. The packages are those of
# the extra `train` or `gpu` in pyproject.toml; `make lock` pins them in trainer-cpu.lock and trainer-gpu.lock.
# BASE is any image with Python 3.11 and glibc.
# Behind a proxy with its own certificates, or with a private index; neither gets into the image:
#   --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt --secret id=pip,src=/etc/pip.conf
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS packages
ARG HARDWARE=gpu
WORKDIR /build
COPY docker/sbom.lock docker/trainer-cpu.lock docker/trainer-gpu.lock ./
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,mode=0444 \
    --mount=type=secret,id=pip,target=/etc/pip.conf,mode=0444 \
    python3 -m venv /opt/venv && python3 -m venv /opt/sbom && \
    /opt/venv/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes -r trainer-${HARDWARE}.lock && \
    /opt/sbom/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes -r sbom.lock && \
    /opt/venv/bin/pip uninstall --yes pip setuptools && \
    rm -r /opt/venv/lib/python3.11/site-packages/tensorflow/include && \
    /opt/sbom/bin/cyclonedx-py environment --output-reproducible -o /opt/venv/sbom.cdx.json /opt/venv/bin/python && \
    { /opt/venv/bin/python -m compileall -qq --invalidation-mode unchecked-hash /opt/venv/lib || true; }

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="age-trainer" org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.source=${SOURCE}
RUN useradd --uid 50000 --gid 0 --no-create-home --home-dir /tmp age && install -d -o age -g 0 -m 0775 /cache
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp AGE_CACHE=/cache KERAS_HOME=/cache/keras MPLCONFIGDIR=/cache/matplotlib \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY age_tasks age_tasks
COPY expectations expectations
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash age_tasks
USER age
# A stage that is stopped still writes its record; Python turns this signal into an exception, and ignores SIGTERM as PID 1.
STOPSIGNAL SIGINT
CMD ["python", "-m", "age_tasks", "--help"]
