# One word per thing a developer does. Every target does its own set-up; a second start is quick.
VENV ?= .venv
export VENV PYTHON
# Tests and bench start hundreds of programs: compiling what they import each time would double their time.
export PYTHONDONTWRITEBYTECODE =
BIN = $(VENV)/bin
CODE = receiver esc_lab client tests chaos benchmarks tools

.DEFAULT_GOAL = help
.DELETE_ON_ERROR:
.PHONY: help demo test random fuzz hostile chaos asking cluster check audit sbom chart bench compiled docs screenshots format lock clean

help: ## say what there is to make
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  ARGS=… is handed on to demo, test, random, fuzz, hostile, chaos, asking, cluster, bench and compiled; PYTHON=… chooses the interpreter (3.11 to 3.13)."

demo: $(VENV)/.run ## orchestrators, emulated ESCs and the whole service, in a throw-away folder; Ctrl-C ends it
	@$(BIN)/esc-receiver demo $(ARGS)

# A worker that is lost (to a test that hangs) ends the run: one put in its place may wait for ever for its last test.
PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist load --maxschedchunk 1 --max-worker-restart 0

test: $(VENV)/.dev ## all tests, on a real PostgreSQL and NATS that they start themselves
	@PYTHONHASHSEED=0 $(PYTEST) $(ARGS)

fuzz: $(VENV)/.dev ## look for bytes that break a property: bodies, heads, query strings, files of the spool
	@$(BIN)/python -m tests.fuzz $(ARGS)

random: $(VENV)/.dev ## all tests with examples and a simulation that are drawn anew
	@HYPOTHESIS_PROFILE=random SIMULATION_SEED=$$($(BIN)/python -c 'import secrets; print(secrets.randbelow(2**31))') \
		$(PYTEST) $(ARGS)

hostile: $(VENV)/.dev ## everything a hostile sender may send, against the whole service: lateness, memory, bystander
	@$(BIN)/python -m tests.hostile $(ARGS)

chaos: $(VENV)/.dev ## crashes, outages and disorder drawn from seeds, and an audit of what is left
	@$(BIN)/python -m chaos $(ARGS)

asking: $(VENV)/.dev ## an emulated ESC loses callbacks and fails over; what asking finds out is compared with what it has
	@$(BIN)/python -m chaos.asking $(ARGS)

cluster: $(VENV)/.dev $(VENV)/.cluster ## the same on Patroni, etcd, a NATS cluster and HAProxy: a table of strikes, in seconds
	@$(BIN)/python -m chaos.availability $(ARGS)

check: $(VENV)/.dev ## format, lint, strict types, import contracts
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy --num-workers auto $(CODE)
	$(BIN)/lint-imports

audit: $(VENV)/.dev ## ask for known vulnerabilities of what the locks name
	@$(BIN)/python -m tools.audit

sbom: $(VENV)/.dev ## list the parts of what is shipped (CycloneDX) in dist/
	@mkdir -p dist
	@for lock in run image; do $(BIN)/python -m tools.sbom $$lock dist/esc-receiver-$$lock.cdx.json; done

chart: $(VENV)/.dev $(VENV)/.chart ## have helm and kubectl in .venv/bin, for the tests of packaging/chart
	@$(BIN)/python -m tools.kubernetes_programs

# A copy of the package with its pure rooms compiled, found before the checkout. `make bench COMPILED=` does without.
COMPILED ?= $(if $(shell command -v cc),build/compiled)
WITH_COMPILED = $(if $(COMPILED),PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(COMPILED):$(CURDIR))

build/compiled/.made: $(shell git ls-files receiver migrations 2>/dev/null) tools/compiled_wheel.py | $(VENV)/.dev
	@echo "compiling the pure rooms: two minutes, once"
	@$(BIN)/python -m tools.compiled_wheel build/compiled > build.log 2>&1 || { cat build.log; exit 1; }
	@rm build.log
	@touch $@

bench: $(VENV)/.dev $(COMPILED:%=%/.made) ## measure speed and memory against a do-nothing server and the ordinary way
	@$(WITH_COMPILED) $(BIN)/python -m benchmarks $(ARGS)

compiled: $(VENV)/.dev build/compiled/.made ## all tests, with the pure rooms compiled as in the image (needs a C compiler)
	@PYTHONHASHSEED=0 $(WITH_COMPILED) $(PYTEST) $(ARGS)

docs: $(VENV)/.dev ## write the parts of README and docs that follow from the code
	@$(BIN)/python -m tools.dashboards
	@$(BIN)/python -m tools.docs
	@$(BIN)/python -m tools.docs.callback_path

screenshots: $(VENV)/.dev ## take the pictures of the board in docs/images anew (needs chromium)
	@$(BIN)/python -m tools.screenshots $(ARGS)

format: $(VENV)/.dev ## format the code, and mend what lint can mend
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-package esc-receiver-client --no-annotate --custom-compile-command "make lock"

lock: $(VENV)/.dev ## write requirements/*.lock anew (ARGS=--upgrade for newer versions)
	$(UV_COMPILE) pyproject.toml --extra archive --extra embedded --extra emulator --group build $(ARGS) -o requirements/run.lock
	$(UV_COMPILE) pyproject.toml --extra archive --extra embedded --extra emulator --extra otel --group build --group compile --group dev -c requirements/run.lock $(ARGS) -o requirements/dev.lock
	$(UV_COMPILE) pyproject.toml --extra archive --extra otel --group build -c requirements/dev.lock $(ARGS) -o requirements/image.lock
	$(UV_COMPILE) --group build --group compile -c requirements/dev.lock $(ARGS) -o requirements/compile.lock
	$(UV_COMPILE) --group installer $(ARGS) -o requirements/uv.lock
	$(UV_COMPILE) --group cluster -c requirements/dev.lock $(ARGS) -o requirements/cluster.lock
	$(UV_COMPILE) --group chart --no-deps $(ARGS) -o requirements/chart.lock

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist .fuzz .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(CODE) -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.%: requirements/%.lock requirements/uv.lock requirements/install pyproject.toml
	@requirements/install $*
	@touch $@
