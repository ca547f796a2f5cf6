# The recipes of Lapwing. `make` lists them.
#
# Each one checks what it needs first: on Debian as root it installs what is missing, elsewhere it says exactly what that is.

SHELL := /bin/bash
CARGO ?= cargo
ARGS ?=
ROUNDS ?= 300
BEFORE ?= v0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
MINUTES ?= 10

# What `make services` serves at this moment, unless the environment or a .env names something else.
with-services = $(if $(LAPWING_KAFKA)$(LAPWING_STORE)$(wildcard .env),,$(shell cat target/services/dev/env 2>/dev/null | grep -v TEST))

.DEFAULT_GOAL := help
.PHONY: help run run-producer run-consumer services test test-unit soak torture upgrade lint bench build install dist setup setup-bench setup-services

help: ## List the recipes
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## Watch what lapwing.sample.yaml names, in one process; data under target/run (ARGS="…" adds flags)
	@mkdir -p target/run
	LAPWING_DATA_DIR=$(CURDIR)/target/run $(CARGO) run --release --locked -p lapwing -- run -c lapwing.sample.yaml $(ARGS)

run-producer: setup ## Watch what lapwing.kafka.sample.yaml names and send it to Kafka; data under target/probe
	@mkdir -p target/probe
	$(with-services) LAPWING_DATA_DIR=$(CURDIR)/target/probe $(CARGO) run --release --locked -p lapwing -- probe -c lapwing.kafka.sample.yaml $(ARGS)

run-consumer: setup ## Store what is in Kafka in PostgreSQL
	@mkdir -p target/write
	$(with-services) LAPWING_DATA_DIR=$(CURDIR)/target/write $(CARGO) run --release --locked -p lapwing -- write -c lapwing.kafka.sample.yaml $(ARGS)

services: setup-services ## Serve PostgreSQL and Kafka on loopback for development, until Ctrl-C; the data stay
	@exec $(CARGO) run --locked -p testkit --bin services -- up

# Compiled first: the services run no longer than the tests do. `exec` lets a signal to make reach the runner, which ends them.
test: setup-services ## Run every test, on real PostgreSQL and Kafka (or those of LAPWING_TEST_POSTGRES and LAPWING_TEST_KAFKA)
	$(CARGO) test --locked --workspace --no-run
	@exec $(or $(CARGO_TARGET_DIR),target)/debug/services exec -- $(CARGO) test --locked --workspace $(ARGS)

test-unit: setup ## Run only the tests that open no sockets and start no programs
	$(CARGO) test --locked -p model -p config

soak: setup ## Watch thousands of failing sites for MINUTES (10), then check beside twenty busy loops
	$(CARGO) test --locked --workspace --no-run
	SOAK=$(MINUTES) $(CARGO) test --locked --workspace --test it soak::for_minutes -- --ignored --nocapture $(ARGS)
	$(CARGO) test --locked --workspace --test it twenty_busy_loops -- --ignored $(ARGS)

# With the dependencies that are compiled already. The tests' own program is made again after it.
upgrade: setup-services ## Replace programs of the last version (BEFORE) by this one's while they work, and prove that each result is one row
	@git rev-parse --quiet --verify '$(BEFORE)^{commit}' >/dev/null || { echo "upgrade: there is no $(BEFORE) here (git fetch --tags)" >&2; exit 1; }
	rm -rf target/before && git worktree prune && git worktree add --quiet --detach target/before/src $(BEFORE)
	$(CARGO) build --locked --workspace --bin lapwing --manifest-path target/before/src/Cargo.toml --target-dir target
	mv target/debug/lapwing target/before/lapwing && git worktree remove --force target/before/src
	$(CARGO) test --locked --workspace --no-run
	@LAPWING_BEFORE=$(CURDIR)/target/before/lapwing exec $(or $(CARGO_TARGET_DIR),target)/debug/services exec -- \
		$(CARGO) test --locked --workspace --test it upgrade:: -- --ignored --nocapture $(ARGS)

# All crates: for one alone cargo would choose other features, and build the client of Kafka once more.
torture: setup-services ## Kill everything, whenever, ROUNDS times (300), and prove that each result is one row
	$(CARGO) test --locked --workspace --no-run
	@ROUNDS=$(ROUNDS) exec $(or $(CARGO_TARGET_DIR),target)/debug/services exec -- \
		$(CARGO) test --locked --workspace --test it torture -- --nocapture $(ARGS)

lint: setup ## Check format, lints, licences, advisories, and what is in packaging/
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --offline check bans licenses sources; \
	else echo "lint: cargo-deny is not installed; licences and duplicates were not checked (cargo install cargo-deny)"; fi
	@scripts/lint-packaging

bench: setup-bench ## Measure beside the floor program, on nginx (docs/performance.md says how to read it)
	$(CARGO) build --release --locked -p lapwing # by itself: with others it would be built with the features that they need
	$(CARGO) build --release --locked -p bench
	target/release/bench all $(ARGS)
	target/release/bench store
	target/release/bench roles
	target/release/bench upkeep
	target/release/bench scale
	target/release/bench accuracy

build: setup ## Build target/release/lapwing
	$(CARGO) build --release --locked -p lapwing

# Builds only what is not built: `make build` as you, `sudo make install` as who may write there and has no cargo.
install: ## Install program, manual, completions, systemd units and samples under PREFIX (/usr/local; DESTDIR goes before it)
	@[ -x $(release)/lapwing ] || $(MAKE) build
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) scripts/install $(release)/lapwing

dist: build ## Pack the same as target/dist/lapwing-VERSION-TARGET.tar.gz, with SHA256SUMS beside it
	@scripts/dist $(release)/lapwing target/dist

release = $(or $(CARGO_TARGET_DIR),target)/release

setup:
	@scripts/need cargo cc

# Maven brings Kafka, once. Also where the environment names services: some tests stop and kill a server of their own.
setup-services: setup
	@scripts/need postgres java mvn

setup-bench:
	@scripts/need cargo cc nginx prometheus-blackbox-exporter postgres psql java mvn
