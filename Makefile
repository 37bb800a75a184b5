PROFILE  ?= release
ENTRIES  ?= 10000000
PLOT     ?= docs/explanation/scale.svg
TOKEN    ?= softhsm
SCENARIO ?= journey
target  := $(or $(CARGO_TARGET_DIR),target)
binary  := $(target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/countersign
show    := tests/demo/$(SCENARIO) $(binary) demo

.DEFAULT_GOAL := help
.PHONY: help build builder check test faults bench lint demo clean cargo

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

build: cargo ## the release binary, target/release/countersign
	cargo build --release --locked

builder: cargo ## the build machine's binary, target/countersign-builder: small, and static where Rust's musl can be had
	tests/equipment.sh install builder
	triple=$$(tests/equipment.sh target) && \
	cargo build --locked --profile builder --no-default-features --target "$$triple" && \
	install $(target)/"$$triple"/builder/countersign $(target)/countersign-builder
	@ls -l $(target)/countersign-builder

# With cargo alone: what needs SoftHSM2, cards, gpg and the like is skipped, and so are five tests that take half of the time. In memory where there is some, because each test waits for the disk a hundred times.
check: export COUNTERSIGN_TEST_WITHOUT_EQUIPMENT := yes
check: export TMPDIR := $(or $(wildcard /dev/shm),$(TMPDIR),/tmp)
check: cargo ## before each commit: format, clippy, unit tests and the tests on the file token; no root, no equipment
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	env -u CI cargo test --locked --lib --test architecture --test it -- --skip every_change_of_artifact_or_evidence \
		--skip an_export_grows --skip more_evidence_than_a_list_can_have --skip what_is_refused_is_listed_up_to_a_limit \
		--skip a_log_of_a_tile_of_tiles

# With the equipment in place, a test that lacks some of it fails: CI=true. Only root can have readers for virtual cards, so for
# other users those tests are skipped, and say so.
test: export CI := $(if $(filter 0,$(shell id -u)),true,$(CI))
test: export COUNTERSIGN_TEST_BUILDER := $(abspath $(target))/countersign-builder
test: cargo builder ## all tests, with the equipment they need (see tests/equipment.sh)
	tests/equipment.sh install test
	COUNTERSIGN_TEST_KRYOPTIC=$$(tests/equipment.sh kryoptic) && export COUNTERSIGN_TEST_KRYOPTIC && \
	COUNTERSIGN_TEST_VIRTUAL_CARD=$$(tests/equipment.sh virtual-card) && export COUNTERSIGN_TEST_VIRTUAL_CARD && \
	COUNTERSIGN_TEST_GO_LOG=$$(tests/equipment.sh go-log) && export COUNTERSIGN_TEST_GO_LOG && \
	COUNTERSIGN_TEST_SECOND_CARD=$$(tests/equipment.sh second-card) && export COUNTERSIGN_TEST_SECOND_CARD && \
	COUNTERSIGN_TEST_SECURESYSTEMSLIB=$$(tests/equipment.sh securesystemslib) && export COUNTERSIGN_TEST_SECURESYSTEMSLIB && \
	cargo nextest run --locked && \
	cargo test --doc --locked && \
	HW_CARD_IS_FOR_TESTS=yes tests/with-virtual-card \
		sh -c 'HW_TOKEN=$$VIRTUAL_CARD_URI HW_HAND=$$VIRTUAL_HAND hw-tests/run' && \
	cargo nextest run --locked --no-default-features

# Some minutes. Not under nextest, which would stop it and hide its figures. The mutants take longer than the sweep.
faults: export CI := $(if $(filter 0,$(shell id -u)),true,$(CI))
faults: cargo ## every fault, kill and race that a signing run must survive, and whether tests see each check removed
	tests/equipment.sh install test
	mkdir -p $(target)
	nice tests/mutants/run >$(target)/mutants.txt 2>&1 & mutants=$$!; \
	COUNTERSIGN_FAULTS=all cargo test --locked --test it faults:: -- --nocapture --test-threads=1; swept=$$?; \
	wait $$mutants; seen=$$?; \
	cat $(target)/mutants.txt; \
	exit $$((swept || seen))

# The ledger grows in memory: by 9 GB for the ten million.
bench: cargo ## what the log costs as it grows to ENTRIES (ten million, some 20 minutes); draws PLOT, docs/explanation/scale.svg
	cargo bench --locked --profile $(PROFILE) --bench ledger -- --entries $(ENTRIES) --plot $(PLOT)

lint: export RUSTDOCFLAGS := -D warnings
lint: cargo ## format, clippy, licences and sources of the dependencies, documentation, limits of size
	tests/equipment.sh install lint
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	cargo deny --locked check licenses bans sources
	cargo doc --no-deps --locked
	cargo doc --no-deps --locked --no-default-features
	tests/measure

demo: cargo ## a release from grant to gpgv (SCENARIO=quorum: three builders, one compromised; TOKEN=card: a virtual card; PROFILE=dev: built faster)
	tests/equipment.sh install $(if $(filter card,$(TOKEN)),card-demo,demo)
	cargo build --locked --profile $(PROFILE)
	$(if $(filter card,$(TOKEN)),tests/with-virtual-card sh -c '$(show) "$$VIRTUAL_CARD_URI"',$(show))

clean: cargo ## remove what was built
	cargo clean

cargo:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust 1.95 or newer (https://rustup.rs), then start again' >&2; exit 1; }
