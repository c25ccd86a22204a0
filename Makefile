# The same targets for people and for CI. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The one in .venv, else the first on PATH that is new enough. Another one: make PYTHON=/path/to/python3.12 setup
PYTHON ?= $(shell for python in .venv/bin/python python3 python3.11 python3.12 python3.13 python3.14; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$python; exit; fi; \
	done; echo python3)
# Test processes at once: make JOBS=4 test
JOBS ?= 2

BIN := .venv/bin
# Where make bench leaves its results for make bench-docs
RESULTS := build/bench
OPA = $$($(BIN)/python tools/build.py --print-path opa)
LOCK := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --no-header --strip-extras --build-deps-for editable

define step
@printf '\n== %s\n' '$(1)' >&2
endef

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: setup-dev ## Make .venv with everything that development needs (again at once when nothing changed)

.PHONY: setup-runtime
setup-runtime:
	@$(PYTHON) tools/setup.py runtime

.PHONY: setup-dev
setup-dev:
	@$(PYTHON) tools/setup.py dev

.PHONY: demo
demo: setup-runtime ## Show a model refused, approved, admitted and proved; needs Python alone
	@$(BIN)/placet demo

.PHONY: demo-cluster
demo-cluster: setup-dev ## The story with kubectl and helm on a real control plane, left running; WAIT=no ends it, KEEP=DIR keeps it
	$(call step,the real programs of the demo: built once)
	@$(BIN)/python tools/build.py etcd kube-apiserver kube-controller-manager kubectl helm
	@$(BIN)/python tools/demo_cluster.py $(if $(filter no,$(WAIT)),--no-wait) $(if $(KEEP),--keep '$(KEEP)')

.PHONY: test
test: lint programs policies bundle-check ## Everything that CI checks: lint, types, bundle, all tests, nothing skipped
	$(call step,all tests)
	@$(BIN)/python tools/suite.py --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder --durations 25

.PHONY: lint
lint: types ## Lint and format checks of Python and Rego, and the layers of the imports
	$(call step,lint)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports
	@$(BIN)/python tools/build.py opa
	@$(OPA) fmt --list --fail policies
	@$(OPA) check --strict --capabilities policies/capabilities.json policies

.PHONY: policies
policies: setup-dev ## Check the policies, and run their tests through both engines with coverage
	$(call step,policies)
	@$(BIN)/python tools/build.py opa
	@$(BIN)/placet policy check --policies policies
	@$(BIN)/placet policy test --policies policies

.PHONY: mutation
mutation: setup-dev ## Put small faults into the policies one at a time, and say which of them no test notices; ONLY=PART of a file name
	$(call step,mutants of the policies)
	@$(BIN)/python tools/build.py opa
	@$(BIN)/python tools/mutation.py $(if $(ONLY),--only '$(ONLY)')

.PHONY: types
types: setup-dev ## mypy, strict
	$(call step,types)
	@$(BIN)/mypy

.PHONY: format
format: setup-dev ## Rewrite Python and Rego in the one format
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format
	@$(BIN)/python tools/build.py opa
	@$(OPA) fmt --write policies

.PHONY: unit
unit: setup-dev ## The tests that need no real program
	$(call step,unit tests)
	@$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --ignore tests/e2e

.PHONY: e2e
e2e: setup-dev programs ## The tests against a real control plane; CRDS=DIR takes the schemas of custom resources from there
	$(call step,end-to-end tests)
	@$(BIN)/pytest tests/e2e $(if $(CRDS),--crds='$(abspath $(CRDS))')

.PHONY: lifecycle
lifecycle: setup-dev programs ## 10,000 reviews during each event in a gate's life, and none may fail; half an hour
	$(call step,life cycle under load)
	@PLACET_LIFECYCLE_REVIEWS=10000 $(BIN)/pytest tests/e2e/test_lifecycle_load.py tests/e2e/test_lifecycle_cluster.py

.PHONY: properties
properties: setup-dev ## The property tests with many more examples, other ones each time
	@$(BIN)/pytest --hypothesis-profile wide --numprocesses $(JOBS) --ignore tests/e2e

# Seconds for each target: make fuzz T=600; one target: make fuzz TARGET=review T=60
T ?= 60
TARGET ?=
.PHONY: fuzz
fuzz: setup-dev ## Fuzz every parser and the whole decision by coverage, T seconds each; TARGET=name for one
	$(call step,fuzzing: $(T) s for each target)
	@$(BIN)/python -m tests.fuzz $(TARGET) --seconds $(T)

.PHONY: attack
attack: setup-dev ## Run the attack suite; prints cases tried and wrong allows: 0
	$(call step,attacks)
	@$(BIN)/pytest --quiet tests/attack

# A folder with objects.jsonl, labelled objects; none comes with placet
CORPUS ?= corpus

.PHONY: detection
detection: setup-dev ## Precision and recall of detection over labelled objects: make detection CORPUS=DIR
	@$(BIN)/python tools/detection.py $(CORPUS)

.PHONY: honest
honest: setup-dev ## Send labelled objects through a gate that detects, name each wrong answer; API_SERVER=1 asks a real one
	@$(BIN)/python tools/honest.py $(CORPUS) $(if $(API_SERVER),--api-server)

.PHONY: programs
programs: setup-dev
	$(call step,the real programs that the tests run: built once, kept outside the checkout)
	@$(BIN)/python tools/build.py

.PHONY: bundle
bundle: setup-dev ## Compile the policies into placet/_bundle
	@$(BIN)/python tools/build.py opa
	@$(BIN)/python tools/bundle.py

.PHONY: bundle-check
bundle-check: setup-dev ## Compile the policies again and compare with placet/_bundle, byte for byte
	$(call step,policy bundle)
	@$(BIN)/python tools/build.py opa
	@$(BIN)/python tools/bundle.py --check

.PHONY: manifests
manifests: setup-dev ## Write manifests/install.yaml from the Helm chart again
	@$(BIN)/python tools/build.py helm
	@$(BIN)/python tools/manifests.py

.PHONY: golden
golden: setup-dev ## Write the golden files of the tests again; then look at git diff
	@found=$$(grep -rl --include='*.py' '^if __name__ == "__main__":' tests/golden || true); \
	[ -n "$$found" ] || { echo "tests/golden/ has no module that can be run" >&2; exit 1; }; \
	for file in $$(sort <<< "$$found"); do \
		module=$${file%.py}; echo "golden: $$file" >&2; $(BIN)/python -m "$${module//\//.}"; \
	done

.PHONY: docs
docs: setup-dev ## Write the output of commands into the documents again
	@$(BIN)/python tools/reference.py
	@$(BIN)/python tools/docs.py README.md docs

.PHONY: lock
lock: setup-dev ## Write the lock files again; make lock UPGRADE=1 takes newer versions
	@$(LOCK) $(if $(UPGRADE),--upgrade) --extra s3 --output-file requirements/runtime.txt pyproject.toml
	@$(LOCK) $(if $(UPGRADE),--upgrade) --extra dev --output-file requirements/dev.txt pyproject.toml

.PHONY: bench
bench: setup-dev ## Measure the gate beside OPA and Gatekeeper, 12 minutes; make bench QUICK=1 only shows that it works
	$(call step,the real programs that are measured: built once)
	@$(BIN)/python tools/build.py load opa etcd kube-apiserver kubectl gatekeeper
	@mkdir -p $(RESULTS)
	@for name in peers api records growth; do \
		printf '\n== bench: %s\n' "$$name" >&2; \
		$(BIN)/python benchmarks/bench_$$name.py $(if $(QUICK),--quick) --json $(RESULTS)/$$name.json; \
	done
	$(call step,bench: one decision by step)
	@$(BIN)/python benchmarks/bench_decision.py --profile -o json $(if $(QUICK),--reviews 50) > $(RESULTS)/steps.json
	@$(BIN)/python benchmarks/report.py $(RESULTS) --only machine aims steps

.PHONY: bench-audit
bench-audit: setup-dev ## Measure the record: appends on both stores, verifying, queries, replaying, 30 minutes, 9 GB; QUICK=1 only shows that it works; SIZE=10000000 STORE=sqlite for queries of so many records
	@mkdir -p $(RESULTS)
	@for name in commits verify lengths find replay; do \
		[ -f benchmarks/bench_$$name.py ] || continue; \
		printf '\n== bench-audit: %s\n' "$$name" >&2; \
		more=; [ $$name != find ] || more='$(if $(SIZE),--records $(SIZE)) $(if $(STORE),--store $(STORE))'; \
		file=$$name; [ $$name != find ] || file=find$(if $(SIZE),-$(SIZE)-$(or $(STORE),both)); \
		$(BIN)/python benchmarks/bench_$$name.py $(if $(QUICK),--quick) $$more --json $(RESULTS)/$$file.json; \
	done
	@$(BIN)/python benchmarks/report.py $(RESULTS) --only audit-machine audit-aims replay-aim

.PHONY: flood
flood: setup-dev ## Honest reviews while others flood the gate, 4 minutes; make flood QUICK=1 takes one
	$(call step,floods)
	@mkdir -p $(RESULTS)
	@$(BIN)/python benchmarks/bench_flood.py $(if $(QUICK),--quick) --json $(RESULTS)/flood.json

.PHONY: bench-docs
bench-docs: setup-dev ## Write what the last make bench measured into docs/performance.md
	@$(BIN)/python benchmarks/report.py $(RESULTS) docs/performance.md

.PHONY: clean
clean: ## Remove all that make made here, .venv too; the built programs in the cache stay
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage* build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
