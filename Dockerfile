# The image of the service, in two stages: the second stage contains no installer and no compiler.
FROM python:3.13-slim AS build
COPY requirements.lock /tmp/
# Wheels only: build dependencies would be installed without a hash. Unchecked bytecode is reproducible, and nothing has
# to be written at the start.
RUN python3 -m venv --without-pip /opt/promo \
    && python3 -m pip --python /opt/promo/bin/python install --no-cache-dir --disable-pip-version-check --no-compile \
        --only-binary :all: --require-hashes -r /tmp/requirements.lock \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/promo/lib
WORKDIR /srv/promo
COPY api.yml ./
COPY promo_api promo_api
COPY handlers handlers
COPY persistence persistence
RUN python3 -m compileall -q --invalidation-mode unchecked-hash .
COPY deploy/promo-api /opt/promo/bin/

FROM python:3.13-slim
LABEL org.opencontainers.image.title="promo-code-api" \
    org.opencontainers.image.description="A promo code platform that a company can run itself, spec-first: the contract is the program." \
    org.opencontainers.image.version="0.2.0" \
    org.opencontainers.image.licenses="MIT"
# Remove pip, and compile the standard library, because the file system is read-only at run time.
# The folders in /var/lib are mount points for the secrets: a new volume inherits owner and mode. Redis runs as another user.
RUN find / -xdev \( -name pip -o -name 'pip3*' -o -name 'pip-*' -o -name ensurepip \) -prune -exec rm -rf {} + \
    && python3 -m compileall -q --invalidation-mode unchecked-hash \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && groupadd --gid 10001 promo \
    && useradd --uid 10001 --gid promo --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin promo \
    && install -d -o promo -g promo -m 0700 /var/lib/promo /var/lib/promo-owner \
    && install -d -o promo -g promo -m 0755 /var/lib/promo-redis
COPY --from=build /opt/promo /opt/promo
COPY --from=build /srv/promo /srv/promo
WORKDIR /srv/promo
ENV PATH=/opt/promo/bin:$PATH PYTHONPATH=/srv/promo PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080 9464
STOPSIGNAL SIGTERM
# Not urllib: it would use a proxy from the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "\
import http.client, os, sys; \
port = (os.environ.get('SERVER_ADDRESS') or ':8080').rpartition(':')[2]; \
service = http.client.HTTPConnection('127.0.0.1', int(port), timeout=3); \
service.request('GET', '/api/ping'); \
sys.exit(service.getresponse().status != 200)"]
CMD ["python", "-m", "promo_api", "serve"]
