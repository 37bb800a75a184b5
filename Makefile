PROFILE ?= release
target  := $(or $(CARGO_TARGET_DIR),target)
binary  := $(target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/countersign

.DEFAULT_GOAL := help
.PHONY: help build test lint demo clean cargo

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

build: cargo ## the release binary, target/release/countersign
	cargo build --release --locked

# With the equipment in place, a test that lacks some of it has found a fault: that is what CI=true says.
test: export CI := true
test: cargo ## all tests, with the equipment they need (see tests/equipment.sh)
	tests/equipment.sh install test
	COUNTERSIGN_TEST_KRYOPTIC=$$(tests/equipment.sh kryoptic) && export COUNTERSIGN_TEST_KRYOPTIC && \
	cargo nextest run --locked && \
	cargo test --doc --locked && \
	cargo nextest run --locked --no-default-features # the builder's binary

lint: export RUSTDOCFLAGS := -D warnings
lint: cargo ## format, clippy, licences and sources of the dependencies, documentation
	tests/equipment.sh install lint
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	cargo deny --locked check licenses bans sources
	cargo doc --no-deps --locked

demo: cargo ## a release on a software token, from grant to gpgv (PROFILE=dev builds faster)
	tests/equipment.sh install demo
	cargo build --locked --profile $(PROFILE)
	$(binary) demo demo

clean: cargo ## remove what was built
	cargo clean

cargo:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust 1.89 or newer (https://rustup.rs), then start again' >&2; exit 1; }
