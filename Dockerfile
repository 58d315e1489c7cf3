# The receiver alone: no compiler, no embedded servers, no root. Built in one stage, its pure rooms compiled, copied into the next.
FROM python:3.13.5-slim-bookworm@sha256:4c2cf9917bd1cbacc5e9b07320025bdb7cdf2df7b0ceaccb55e9dd7e30987419 AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
RUN python -m venv /opt/esc-receiver && python -m venv /opt/build
COPY requirements/compile.lock requirements/compile.lock
RUN /opt/build/bin/pip install --require-hashes -r requirements/compile.lock
COPY requirements/image.lock requirements/image.lock
RUN /opt/esc-receiver/bin/pip install --require-hashes -r requirements/image.lock
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY receiver receiver
COPY esc_lab esc_lab
COPY client client
COPY tools/compiled_wheel.py tools/compiled_wheel.py
RUN HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /wheels ./client . \
    && /opt/esc-receiver/bin/pip install --no-deps /wheels/*.whl

FROM python:3.13.5-slim-bookworm@sha256:4c2cf9917bd1cbacc5e9b07320025bdb7cdf2df7b0ceaccb55e9dd7e30987419
COPY --from=build /opt/esc-receiver /opt/esc-receiver
# The volume takes over who owns the folder.
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/esc-receiver
ENV PATH=/opt/esc-receiver/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    ESC_RECEIVER_HOST=0.0.0.0 ESC_RECEIVER_REFUSE_OPEN=on ESC_RECEIVER_DATA_DIR=/var/lib/esc-receiver ESC_RECEIVER_LOG_FORMAT=json
USER 10001:10001
VOLUME /var/lib/esc-receiver
EXPOSE 9010
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9010/readyz', timeout=4)"]
ENTRYPOINT ["esc-receiver"]
CMD ["serve"]
