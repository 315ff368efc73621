# Lethe as a container: docker build -t lethe .
# Runs without root and with a read-only root; what it keeps (audit, store) goes to /var/lib/lethe.

FROM python:3.11-slim-bookworm AS build
# URL of PyTorch's index of CPU builds; an empty value takes the build that PyPI has (2.5 GB more).
ARG TORCH_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/lethe
COPY constraints.txt ./
RUN torch="$(grep '^torch==' constraints.txt)" \
    && /opt/lethe/bin/pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$torch"
COPY pyproject.toml README.md LICENSE ./
COPY policies policies
COPY guards guards
COPY server server
# Not editable: the image holds the installed packages and nothing of this folder.
RUN /opt/lethe/bin/pip install --constraint constraints.txt . \
    && /opt/lethe/bin/python -m compileall -q /opt/lethe/lib

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/lethe --create-home lethe
COPY --from=build /opt/lethe /opt/lethe
ENV PATH=/opt/lethe/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1
USER 10001
WORKDIR /var/lib/lethe
VOLUME /var/lib/lethe
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["lethe"]
CMD ["--help"]
