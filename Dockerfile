# syntax=docker/dockerfile:1
# Lapwing in a small image: built with the toolchain of rust-toolchain.toml, run without root on Debian.

FROM rust:1.95.0-slim-bookworm AS build
# For OpenSSL and librdkafka, which the client of Kafka is built from.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ gcc libc6-dev make perl && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p lapwing && strip -o /lapwing target/release/lapwing

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 lapwing \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/lapwing lapwing \
    && install -d -o lapwing -g lapwing -m 750 /var/lib/lapwing
COPY --from=build /lapwing /usr/local/bin/lapwing
USER 10001:10001
# The queue, and an embedded database.
VOLUME /var/lib/lapwing
WORKDIR /var/lib/lapwing
ENV LAPWING_DATA_DIR=/var/lib/lapwing LAPWING_HEALTH=http://127.0.0.1:8080/healthz
# `probe` and `write` listen elsewhere: they say so in LAPWING_HEALTH.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["sh", "-c", "exec lapwing -qq check --timeout 3s \"$LAPWING_HEALTH\" >/dev/null"]
ENTRYPOINT ["lapwing"]
CMD ["run", "-c", "/etc/lapwing/lapwing.yaml", "--listen", ":8080"]
