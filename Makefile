# The one door: everything that is built, checked or shown starts here.

ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)

# Everything that is built is under target/, wherever the caller's shell would have it.
export CARGO_TARGET_DIR := $(CURDIR)/target
export S3_VIRUSSCAN_CACHE := $(CURDIR)/target/debs
export PATH := $(CURDIR)/target/tools/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
# Nothing else reaches AWS, so any region does; these two take that of the caller's settings.
ifeq ($(filter deploy delete,$(MAKECMDGOALS)),)
export AWS_DEFAULT_REGION ?= us-east-1
endif

# For deploy and delete: make deploy STACK=scan PARAMETERS="BucketNames=uploads,media Timeout=600"
STACK ?= s3-virusscan
PARAMETERS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help tools layer layer-arm64 freshclam-files function rails subscriber lint template resolved sam-build deploy delete test demo subscriber-demo fuzz honesty false-alarms bench bench-definitions clean

help: ## say what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 14

tools: ## install what the rest needs: Debian packages if missing, Python tools in target/tools
	@.ci/tools

layer: tools ## clamd for this machine's architecture in target/layer
	@layers/clamd/build.sh $(ARCH) target/layer/$(ARCH)

layer-arm64: tools ## clamd for arm64 in target/layer/arm64
	@layers/clamd/build.sh arm64 target/layer/arm64

freshclam-files: ## what ClamAV's makers test freshclam with, in target/freshclam-files
	@.ci/freshclam-files target/freshclam-files

function: tools ## the functions for provided.al2023 in target/lambda
	@echo "function: cargo lambda build, release"
	@cargo lambda build --locked --quiet --release --package scanner --package definitions --package buckets

template: tools ## check template.yaml and the examples of CloudFormation and Terraform
	@echo "template: sam validate --lint, cfn-lint, checkov, rules of tests/rules.guard"
	@sam validate --lint --template template.yaml
	@cfn-lint template.yaml examples/subscriptions/template.yaml
	@target/checkov/bin/checkov --file template.yaml examples/subscriptions/template.yaml $(wildcard examples/terraform/*.tf) \
		--framework cloudformation terraform --skip-download --compact --quiet
	@target/tools/bin/python3 tests/check_template.py
	@if command -v terraform >/dev/null; then terraform fmt -check -diff examples/terraform; fi

resolved: tools ## the template as CloudFormation would deploy it, for the tests, in target/template.json
	@target/tools/bin/python3 tests/resolve_template.py $(PARAMETERS) >target/template.json.new
	@mv target/template.json.new target/template.json

lint: template ## formatting, clippy, documentation, template
	@echo "lint: cargo fmt, clippy, doc"
	@cargo fmt --check
	@cargo clippy --locked --quiet --workspace --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --no-deps --workspace

rails: tools ## examples/rails on Debian's Rails
	@echo "rails: ruby examples/rails/test/all.rb"
	@/usr/bin/ruby examples/rails/test/all.rb

# Programs beside a test, so that all crates have the features that they have in `make test`, and
# nothing is built twice.
BUILD := cargo build --locked --quiet --workspace --test process --bin

subscriber: tools ## build the example that subscribes over HTTPS, target/debug/https-subscriber
	@echo "subscriber: cargo build"
	@$(BUILD) https-subscriber

test: layer layer-arm64 freshclam-files function subscriber resolved rails lint fuzz ## every check and every test
	@echo "test: cargo test"
	@cargo test --locked --workspace

demo: layer function resolved ## watch it work on this machine, without an AWS account
	@echo "demo: upload, scan, tag, finding"
	@$(BUILD) demo
	@target/debug/demo

subscriber-demo: layer function resolved subscriber ## the same with SNS over HTTPS and a subscriber that tells each status
	@echo "subscriber-demo: upload, scan, finding, POST, status"
	@$(BUILD) subscriber-demo
	@target/debug/subscriber-demo

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
fuzz: tools ## fuzz what reads hostile bytes, FUZZ_SECONDS=60 for each of FUZZ_TARGETS, else for all
	@.ci/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

honesty: layer resolved ## what is said of files that cannot be looked into, beside stock clamd
	@echo "honesty: containers, depth, limits, encryption, damage"
	@$(BUILD) honesty
	@target/debug/honesty

FOLDERS ?=
false-alarms: layer resolved ## what is said of ordinary files: made ones and this machine's; FOLDERS="..." for others
	@$(BUILD) false-alarms
	@.ci/ordinary-files target/ordinary-files
	@target/debug/false-alarms target/ordinary-files
	@target/debug/false-alarms $(FOLDERS)

bench: layer layer-arm64 function resolved ## measure what docs/SPECIFICATION.md says
	@echo "bench: sizes, start, latency, throughput, memory"
	@cargo run --locked --quiet --profile measure --package scanner-tests --bin measure

ONE_IN ?= 1
bench-definitions: layer resolved ## measure loading a database as large as the public one; ONE_IN=100 to try it
	@echo "bench-definitions: forms, cold start, change, scans, compression"
	@cargo run --locked --quiet --profile measure --package scanner-tests --bin measure-definitions -- $(ONE_IN)

sam-build: template ## build the application as `sam deploy` takes it, in .aws-sam
	@echo "sam-build: sam build"
	@CLAMD_LAYER_ARCH=$(ARCH) sam build --template template.yaml --parameter-overrides Architecture=$(ARCH)

deploy: sam-build ## build and deploy to the caller's AWS account, with PARAMETERS="Name=value ..."
	@echo "deploy: sam deploy, stack $(STACK)"
	@sam deploy --stack-name "$(STACK)" --parameter-overrides Architecture=$(ARCH) $(PARAMETERS)

delete: tools ## delete the stack again; asks first
	@sam delete --stack-name "$(STACK)"

clean: ## remove everything that was built, also the tools and downloads
	rm -rf target .aws-sam
