# One image for every service: `docker run starling:0.1.0 gateway` (or history, groups). Settings: STARLING_… variables.

FROM python:3.11-slim-bookworm AS build
WORKDIR /opt/starling
COPY requirements.lock ./
# Wheels only, each with its hash: nothing is compiled, and nothing else than what was tested is installed.
RUN python -m venv --without-pip environment \
    && python -m pip --python environment/bin/python install --no-cache-dir --no-input --disable-pip-version-check \
       --require-hashes --only-binary :all: -r requirements.lock \
    && environment/bin/python -m compileall -q environment/lib
COPY shared shared
COPY services services
# The file system is read-only at run time: bytecode is made here or at every start.
RUN environment/bin/python -m compileall -q shared services

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Starling" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 starling \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin starling
WORKDIR /opt/starling
COPY --from=build /opt/starling/environment environment
COPY --from=build /opt/starling/shared shared
COPY --from=build /opt/starling/services services
ENV PATH=/opt/starling/environment/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    STARLING_ENVIRONMENT=production \
    STARLING_HTTP__HOST=0.0.0.0 \
    STARLING_HTTP__PORT=8080
# By number: Kubernetes can then see that it is not root.
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['STARLING_HTTP__PORT']), timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "services"]
