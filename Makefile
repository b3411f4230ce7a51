# The one door: everything that is built, checked or shown starts here.

ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)

# Everything that is built is under target/, wherever the caller's shell would have it.
export CARGO_TARGET_DIR := $(CURDIR)/target
export S3_VIRUSSCAN_CACHE := $(CURDIR)/target/debs
export PATH := $(CURDIR)/target/tools/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
export AWS_DEFAULT_REGION ?= us-east-1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help tools layer layer-arm64 function lint template sam-build test demo bench clean

help: ## say what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 14

tools: ## install what the rest needs: Debian packages if missing, Python tools in target/tools
	@.ci/tools

layer: tools ## clamd for this machine's architecture in target/layer
	@layers/clamd/build.sh $(ARCH) target/layer/$(ARCH)

layer-arm64: tools ## clamd for arm64 in target/layer/arm64
	@layers/clamd/build.sh arm64 target/layer/arm64

function: tools ## the functions for provided.al2023 in target/lambda
	@echo "function: cargo lambda build, release"
	@cargo lambda build --locked --quiet --release --package scanner

template: tools ## check template.yaml
	@echo "template: sam validate --lint, cfn-lint"
	@sam validate --lint --template template.yaml
	@cfn-lint template.yaml

lint: template ## formatting, clippy, documentation, template
	@echo "lint: cargo fmt, clippy, doc"
	@cargo fmt --check
	@cargo clippy --locked --quiet --workspace --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --no-deps --workspace

test: layer layer-arm64 function lint ## every check and every test
	@echo "test: cargo test"
	@cargo test --locked --workspace

demo: layer function ## watch it work on this machine, without an AWS account
	@echo "demo: upload, scan, tag, finding"
	@cargo run --locked --quiet --package scanner-tests --bin demo

bench: layer layer-arm64 function ## measure what docs/SPECIFICATION.md says
	@echo "bench: sizes, start, latency, throughput, memory"
	@cargo run --locked --quiet --package scanner-tests --bin measure

sam-build: template ## build the application as `sam deploy` takes it, in .aws-sam
	@echo "sam-build: sam build"
	@CLAMD_LAYER_ARCH=$(ARCH) sam build --template template.yaml --parameter-overrides Architecture=$(ARCH)

clean: ## remove everything that was built, also the tools and downloads
	rm -rf target .aws-sam
