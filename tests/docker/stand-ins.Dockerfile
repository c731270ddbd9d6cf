# PostgreSQL and an S3 server for tests of the stack, on machines that reach no registry of images: Debian's PostgreSQL, and
# OpenStack Swift. BASE is the base of the project's own images.
ARG BASE

FROM ${BASE} AS s3
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,mode=0444 \
    --mount=type=secret,id=pip,target=/etc/pip.conf,mode=0444 \
    python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir swift==2.38.3 boto3==1.44.5
RUN install -d -o 65534 /data
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/src PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY tests tests
USER 65534
CMD ["python", "-m", "tests.programs.s3_for_compose"]

FROM ${BASE} AS postgres
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,mode=0444 \
    apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/*
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
COPY --chmod=755 tests/docker/postgres.sh /usr/local/bin/postgres.sh
RUN install -d -o postgres -m 0700 /var/lib/postgresql/data && chmod 1777 /var/run/postgresql
USER postgres
ENTRYPOINT ["postgres.sh"]
