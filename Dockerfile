# The service, in two stages: the second has what the first installed, and no tools to install anything.
FROM python:3.13-slim AS build
COPY requirements.lock /tmp/
RUN python3 -m venv /opt/promo \
    && /opt/promo/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/requirements.lock \
    && /opt/promo/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home promo
COPY --from=build /opt/promo /opt/promo
WORKDIR /srv/promo
COPY api.yml ./
COPY promo_api promo_api
COPY handlers handlers
COPY persistence persistence
ENV PATH=/opt/promo/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER promo
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/api/ping', timeout=2)"]
CMD ["python", "-m", "promo_api", "serve"]
