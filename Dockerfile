# Lethe as a container: docker build -t lethe .
#
# Three stages. `export` has torch, and makes the wheel and the encoder's export. `environment` installs what
# serves, without torch, transformers or sentence-transformers, and takes the export along. The last one runs
# without root and with a read-only root file system; the audit, keys and compiled state go to /var/lib/lethe.
# `python -m deploy.check_image` runs these very steps without an engine.

# By digest where a build must repeat itself: --build-arg PYTHON=python@sha256:...
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS export
# URL of PyTorch's index of CPU builds; an empty value takes the build that PyPI has (2.5 GB more to download).
ARG TORCH_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY constraints.txt ./
RUN python -m venv /opt/export \
    && torch="$(grep '^torch==' constraints.txt)" \
    && /opt/export/bin/pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$torch"
COPY pyproject.toml README.md LICENSE ./
COPY policies policies
COPY guards guards
COPY server server
RUN /opt/export/bin/pip install --constraint constraints.txt setuptools \
    && /opt/export/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /opt/dist . \
    && /opt/export/bin/pip install --constraint constraints.txt "$(echo /opt/dist/*.whl)[export]"
# Laid out as a state folder; anybody may read it, whatever user the container runs as.
RUN /opt/export/bin/lethe prepare --state /opt/shipped && chmod -R a+rX /opt/shipped

FROM ${PYTHON} AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY constraints.txt ./
COPY --from=export /opt/dist /opt/dist
# Nothing installs into a running container: pip goes once its work is done.
RUN python -m venv /opt/lethe \
    && /opt/lethe/bin/pip install --constraint constraints.txt /opt/dist/*.whl \
    && /opt/lethe/bin/pip uninstall --yes setuptools pip \
    && python -m compileall -q /opt/lethe/lib
COPY --from=export /opt/shipped /opt/lethe/share/lethe

FROM ${PYTHON}
RUN useradd --system --uid 10001 --home-dir /var/lib/lethe --create-home lethe
COPY --from=environment /opt/lethe /opt/lethe
ENV PATH=/opt/lethe/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    LETHE_STATE=/var/lib/lethe
USER 10001
WORKDIR /var/lib/lethe
VOLUME /var/lib/lethe
EXPOSE 8080
STOPSIGNAL SIGTERM
# Whether it serves, not whether its upstream does: to start Lethe again mends no model. Another port is known
# here where LETHE_PORT names it, and not from --port.
HEALTHCHECK --interval=10s --timeout=8s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('LETHE_PORT') or 8080), timeout=5); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["lethe"]
CMD ["--help"]
