# `make demo` shows the main job, `make test` checks everything; both do all their own set-up on Debian 12 as root.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

LAB := tests/lab/lab

.PHONY: build demo test lint unit coverage e2e soak bench fuzz deny generated packages \
  install uninstall dist deb release reproducible clean

build: packages ## target/release/nodebake
	cargo build --release --locked --workspace --bins

demo: build ## lock, build, up: two workers register in the lab (KEEP=1 leaves it, UPSTREAM=1 uses upstream's files)
	tests/lab/demo

test: lint unit e2e ## everything that CI checks

# In the release profile, whose procedural macros and build scripts are needed anyway.
lint: packages
	cargo fmt --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cargo clippy --release --locked --test e2e -- -D warnings
	shellcheck -x tests/lab/lab tests/lab/packages tests/lab/mirror tests/lab/given tests/lab/container-image tests/lab/containerds tests/lab/cloud-init tests/lab/demo tests/lab/cluster-file .ci/run
	shellcheck -x packaging/install packaging/dist packaging/deb packaging/release packaging/reproducible
	shellcheck benches/first-boot/ssh-way benches/first-boot/prototype
	sed '/^{%-.*%}$$/d' cloud-init/guest/report | shellcheck -s sh -
	sed '1d;/^{%-.*%}$$/d' cloud-init/vendor-data | shellcheck -s sh -
	sed 1d cloud-init/golden/vendor-data | shellcheck -s sh -
	sed 's/{%.*%}/ client server/' cloud-init/guest/certificates | shellcheck -s sh -
	shellcheck -s sh cloud-init/guest/grow cloud-init/guest/packages cloud-init/guest/seal

# Always the whole workspace: features of shared dependencies are then the same each time, and nothing is built twice. The
# crate itself is not optimised here, since that takes longer than all these tests; what the lab's guests meet is.
unit: packages ## tests beside the code, the command line, identities, images, what is rendered, libvirt (ARGS= for some of it)
	cargo --config profile.release.package.nodebake.opt-level=0 test --release --locked --workspace $(ARGS)

# In a folder of its own (target/coverage), where all is built once more.
coverage: packages ## which lines of src/ the same tests run, by module; fails under 85 % outside of the thin edges
	tests/coverage

# Images for a single drive and golden images have scenarios of their own, which `make soak` adds.
e2e: packages ## real guests in the lab
	$(LAB) build
	cargo test --release --locked --workspace --test e2e workers -- --test-threads=1 --nocapture

soak: packages ## the same with full counts; hours
	NODEBAKE_TEST_TREES=500 cargo test --release --locked --workspace --test images
	NODEBAKE_KILLS=200 cargo test --release --locked --workspace --test cli killed::
	NODEBAKE_KILLS=100 cargo test --release --locked --workspace --test cli cutting::
	NODEBAKE_KILLS=all cargo test --release --locked --workspace --test cli moving::
	NODEBAKE_KILLS=all cargo test --release --locked --workspace --test lifecycle leaving::
	NODEBAKE_TEST_CLUSTERS=500 cargo test --release --locked --workspace --test lifecycle random::
	NODEBAKE_TEST_INPUTS=5000 cargo test --release --locked --workspace --test fuzzed
	$(LAB) build
	NODEBAKE_SOAK=10 cargo test --release --locked --workspace --test e2e -- --test-threads=1 --nocapture

FUZZ_SECONDS ?= 600
FUZZ_TARGETS := checksum_file archive lock_file iso cluster_file first_boot kubeconfig pem

# libFuzzer's instrumentation is an unstable flag of rustc, which the bootstrap variable opens on the stable one.
fuzz: packages ## ten minutes for each reader of others' files; needs cargo-fuzz; what it finds out stays in fuzz/grown
	cp Cargo.lock fuzz/Cargo.lock
	for target in $(FUZZ_TARGETS); do \
	  mkdir -p "fuzz/grown/$$target"; \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir fuzz "$$target" "fuzz/grown/$$target" "fuzz/corpus/$$target" -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=20 -print_final_stats=1 $$(ls fuzz/$$target.dict 2>/dev/null | sed s/^/-dict=/); \
	done

BENCHMARKS := supply-chain seeds upload plan first-boot

# One that does not meet its limit keeps the others from nothing.
bench: packages ## everything against the other ways to it, into docs/benchmarks.md (NODEBAKE_BENCH_PAIRS=N)
	$(LAB) build
	failed=0; for bench in $(BENCHMARKS); do cargo bench --locked --workspace --bench "$$bench" || failed=1; done; \
	  cargo bench --locked --workspace --bench table && exit $$failed

deny: ## licences, duplicates, sources; needs cargo-deny
	cargo deny --offline check licenses bans sources

# The test that keeps them fresh writes them when it is told to.
generated: packages ## man/ and completions/ from the command line, docs/configuration.md from the schema, docs/licenses.md from Cargo.lock
	NODEBAKE_GENERATE=1 cargo --config profile.release.package.nodebake.opt-level=0 test --release --locked --workspace \
	  --test cli -- generated::kept reference::kept

# None of these builds, so that `sudo make install` leaves no files of root's in target/.
install: ## program, man pages, completions, documents; PREFIX=/usr/local, DESTDIR=, BIN=target/release/nodebake
	@packaging/install

uninstall: ## takes away what `make install` put there; the same PREFIX and DESTDIR
	@packaging/install --remove

dist: ## a tarball of what is installed, with its digest, in target/dist (BIN=, OUT=, SOURCE_DATE_EPOCH=)
	@packaging/dist

deb: ## the same as a Debian package; needs cargo-deb (BIN=, OUT=, SOURCE_DATE_EPOCH=, FAST=1)
	@packaging/deb

release: packages ## the program as it is published, in target/published: no path of this machine is in it
	packaging/release

reproducible: packages ## builds the release in two folders and compares the bytes; twice the time of a build
	packaging/reproducible

packages:
	@tests/lab/packages

clean:
	-$(LAB) down
	cargo clean
