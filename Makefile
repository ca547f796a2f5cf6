# The recipes of Lapwing. `make` lists them.
#
# Each one checks what it needs first: on Debian as root it installs what is missing, elsewhere it says exactly what that is.

SHELL := /bin/bash
CARGO ?= cargo
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-unit lint bench setup setup-bench

help: ## List the recipes
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## Watch what lapwing.sample.yaml names, in one process; data under target/run (ARGS="…" adds flags)
	@mkdir -p target/run
	LAPWING_DATA_DIR=$(CURDIR)/target/run $(CARGO) run --release --locked -p lapwing -- run -c lapwing.sample.yaml $(ARGS)

test: setup ## Run every test
	$(CARGO) test --locked --workspace

test-unit: setup ## Run only the tests that open no sockets and start no programs
	$(CARGO) test --locked -p model -p config

lint: setup ## Check format, lints, licences and advisories
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --offline check bans licenses sources; \
	else echo "lint: cargo-deny is not installed; licences and duplicates were not checked (cargo install cargo-deny)"; fi

bench: setup-bench ## Measure beside the floor program, on nginx (docs/performance.md says how to read it)
	$(CARGO) build --release --locked -p lapwing -p bench
	target/release/bench all $(ARGS)

setup:
	@scripts/need cargo cc

setup-bench:
	@scripts/need cargo cc nginx
