# Everything that can be done with this project; `make` alone prints the menu.
# Nothing here needs more than GNU make, a POSIX shell and a Python 3.10.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PORT ?= 5005
ACTIONS_PORT ?= 5055
CONFIG ?= config.yml
AWS_PORT ?= 4566

VENV := .venv
PYTHON := $(VENV)/bin/python
BOT := $(VENV)/bin/bot
DIRECTORY := data/directory.db
ENCODER := $(or $(BOT_ENCODERS),models/encoders)/e5-small-fr/encoder.json
# Packages that Rasa's LanguageModelFeaturizer needs, for a comparison with it alone.
PEERS_LM := results/bench/peers-lm
SOURCES := common components actions bot comparison infra localaws benchmarks tests
# Nothing is trained on macOS with an Intel processor (infra/machines.py).
MACHINE := $(shell uname -sm | tr ' ' -)
READY := $(if $(filter Darwin-x86_64,$(MACHINE)),$(VENV)/.project-stamp,$(ENCODER))

# $(call step,TITLE,COMMAND): announce COMMAND, run it with its output kept aside, say how long it
# took; a sign of life every 15 s; when it fails, the end of its output and its status.
define step
	@printf '→ %s\n' '$(1)'; \
	mkdir -p $(VENV); log=$(VENV)/setup.log; begin=$$(date +%s); \
	( while sleep 15 >/dev/null 2>&1; do printf '  … %d s\n' $$(( $$(date +%s) - begin )); done ) & ticker=$$!; \
	trap 'kill $$ticker 2>/dev/null' EXIT; trap 'exit 130' INT TERM; \
	status=0; ( $(2) ) >$$log 2>&1 || status=$$?; \
	if [ $$status -eq 0 ]; then printf '  done in %d s\n' $$(( $$(date +%s) - begin )); \
	else tail -n 30 $$log; printf '  failed after %d s; the whole output: %s\n' $$(( $$(date +%s) - begin )) "$$log"; fi; \
	exit $$status
endef

IS_PYTHON310 := import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 10))

define NO_PYTHON310
No Python 3.10 found (Rasa Open Source 3.6 runs on nothing newer). Get one in any of these ways,
then run make again:
  pyenv:          pyenv install 3.10
  uv:             uv python install 3.10
  Debian/Ubuntu:  sudo add-apt-repository ppa:deadsnakes/ppa && sudo apt install python3.10 python3.10-venv
(An apt python3.10 without the package python3.10-venv is not enough.)
endef
export NO_PYTHON310

.PHONY: help
help: ## Print this menu
	@printf 'Usage: make TARGET\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-13s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nStart here: make run\n'

.PHONY: setup
setup: $(READY) $(DIRECTORY) ## Create .venv, install the locked packages, build encoder and directory

.PHONY: run
run: setup ## Train if needed, start action server and bot [PORT=5005 ACTIONS_PORT=5055 CONFIG=config.yml]
	@$(BOT) run --port $(PORT) --actions-port $(ACTIONS_PORT) --config $(CONFIG)

.PHONY: run-comprehend
run-comprehend: setup ## The same with Comprehend as classifier, on a local stand-in for AWS
	@$(PYTHON) -m infra.run_comprehend --port $(PORT) --actions-port $(ACTIONS_PORT)

.PHONY: shell
shell: setup ## Talk to the bot in the terminal, with the action server beside it
	@$(BOT) shell --actions-port $(ACTIONS_PORT) --config $(CONFIG)

.PHONY: train
train: setup ## Train a model (what did not change comes out of the cache)
	@$(BOT) train --config $(CONFIG)

.PHONY: eval
eval: setup ## Measure the model on the held-out set; pictures and figures to results/eval/
	@$(BOT) evaluate --config $(CONFIG)

.PHONY: test
test: lint ## Lint, types, dataset check and all tests (this is what CI runs)
	@# Before the tests, which share the processors: training alone is several times faster.
	@$(PYTHON) -c 'from bot.rasa_model import ensure_model; ensure_model()'
	@$(PYTHON) -m pytest --numprocesses 2 --dist loadfile

.PHONY: bench
bench: setup $(PEERS_LM) ## Run the benchmarks; tables to results/bench/
	@mkdir -p results/bench; set -e; for name in serving training directory entities off_topic peers; do \
		printf '→ benchmarks/%s.py\n' "$$name"; \
		$(PYTHON) -m benchmarks.$$name | tee results/bench/$$name.md; done

.PHONY: load
load: setup ## Users at once on this bot and on stock Rasa, then a soak of 20 minutes; tables to results/bench/
	@mkdir -p results/bench
	@$(PYTHON) -m benchmarks.load levels --out results/bench/load.md
	@$(PYTHON) -m benchmarks.load soak --out results/bench/soak.md

.PHONY: faults
faults: setup ## Kill, fill up, corrupt and confuse the bot while users talk; report to results/bench/
	@mkdir -p results/bench
	@$(PYTHON) -m benchmarks.load.fault_injection --out results/bench/faults.txt

.PHONY: localaws
localaws: setup ## A local stand-in for AWS, for trying and testing [AWS_PORT=4566]
	@$(PYTHON) -m localaws --port $(AWS_PORT) --image "*camembert*=$(PYTHON) -m infra.sagemaker"

.PHONY: pipeline-demo
pipeline-demo: setup ## Dataset in S3 to live endpoint, both ways, on the local AWS
	@$(PYTHON) -m infra.demo

.PHONY: retrain-demo
retrain-demo: setup ## The same without any cloud: drop, new live model, rollback, while somebody talks to the bot
	@$(PYTHON) -m infra.retrain_demo

.PHONY: aws-smoke
aws-smoke: setup ## Comprehend on the real AWS: costs money, asks first, removes what it made
	@$(PYTHON) -m infra.smoke

.PHONY: cluster
cluster: setup ## Two bots and two action servers behind nginx, PostgreSQL and Redis, to try
	@$(PYTHON) -c 'from bot.rasa_model import ensure_model; ensure_model()'
	@$(PYTHON) -m infra.cluster

.PHONY: lint
lint: setup ## Check style, formatting, types and the dataset
	@$(VENV)/bin/ruff check --quiet $(SOURCES)
	@$(VENV)/bin/ruff format --check --quiet $(SOURCES) || { \
		$(VENV)/bin/ruff format --check $(SOURCES); exit 1; }
	@$(VENV)/bin/mypy $(filter-out benchmarks tests,$(SOURCES))
	@$(VENV)/bin/lint-imports --no-logo >$(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }
	@$(BOT) dataset validate

.PHONY: audit
audit: setup ## Licences and secrets, offline; bills of materials to build/supply-chain/
	@$(PYTHON) -m infra.supply_chain licences
	@$(PYTHON) -m infra.supply_chain secrets
	@$(PYTHON) -m infra.supply_chain sbom

.PHONY: audit-online
audit-online: setup ## Known vulnerabilities of all locked packages, by PyPI's and npm's services
	@$(PYTHON) -m infra.supply_chain vulnerabilities

.PHONY: wheel
wheel: setup ## The wheel for other Rasa projects (docs/plugin.md), to dist/
	@$(VENV)/bin/uv build --quiet --wheel --no-build-isolation --out-dir dist

.PHONY: release
release: setup ## Wheel, images, notes and tag of the version in pyproject.toml, out of what is committed
	@$(PYTHON) -m infra.release

.PHONY: lock
lock: setup ## Lock what pyproject.toml has new; all else stays (docs/supply-chain.md)
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
		--no-annotate --no-emit-index-url --extra bot --extra train --extra dev pyproject.toml localaws/pyproject.toml \
		--output-file requirements.lock

.PHONY: clean
clean: ## Remove models, results and caches (keeps .venv, encoders and the directory)
	rm -rf .venv-fuzz .venv-audit .venv-iam models/*.tar.gz models/*.json .rasa results build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# --- set-up: one stamp a step, so that a step runs again when what it is made from changes ---

# A .venv whose interpreter is gone or is no Python 3.10 is made anew, and so is what was in it.
$(shell test ! -d $(VENV) || $(PYTHON) -c '$(IS_PYTHON310)' >/dev/null 2>&1 || \
	rm -f $(VENV)/bin/python $(VENV)/.*-stamp)

# In order: python3.10 and python3 on the PATH, pyenv, uv. Each is run, not only looked for.
$(VENV)/bin/python:
	@for candidate in python3.10 python3 \
			"$$(pyenv prefix 3.10 2>/dev/null)/bin/python" "$$HOME"/.pyenv/versions/3.10*/bin/python \
			"$$(uv python find --no-project 3.10 2>/dev/null)"; do \
		if "$$candidate" -c '$(IS_PYTHON310)' >/dev/null 2>&1; then \
			"$$candidate" infra/machines.py || exit 1; \
			printf '→ Creating %s with %s\n' $(VENV) "$$("$$candidate" --version) ($$candidate)"; \
			exec "$$candidate" -m venv --clear $(VENV); \
		fi; \
	done; printf '%s\n' "$$NO_PYTHON310" >&2; exit 1

# uv itself is pinned and checked by hash; pip, which the virtual environment brings, installs it.
$(VENV)/.uv-stamp: requirements-uv.lock | $(VENV)/bin/python
	$(call step,Installing the package installer (uv),$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock)
	@touch $@

$(VENV)/.packages-stamp: requirements.lock $(VENV)/.uv-stamp
	$(call step,Installing the packages of requirements.lock (7 GB; minutes on a first run),$(VENV)/bin/uv pip sync --quiet --python $(PYTHON) --require-hashes requirements.lock)
	@touch $@

$(VENV)/.project-stamp: pyproject.toml $(VENV)/.packages-stamp
	$(call step,Installing this project,$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation --editable .)
	@touch $@

$(DIRECTORY): | $(VENV)/.project-stamp
	$(call step,Filling an empty directory with the sample,$(BOT) directory sample)

$(PEERS_LM): benchmarks/peers-lm.lock $(VENV)/.packages-stamp
	$(call step,Installing the packages of a peer (benchmarks/peers-lm.lock),$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --no-deps --require-hashes --target $@ -r $<)
	@touch $@

$(ENCODER): components/offline_encoder.py $(VENV)/.project-stamp
	$(call step,Building the offline encoder,$(BOT) encoder build)
	@touch $@
