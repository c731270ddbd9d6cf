SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3.11
RUN := .venv/bin/python -m age_tasks
INSTALLED := .venv/installed
CODE := age_tasks benchmarks dags docs plugins tests
PIP := .venv/bin/pip install --quiet --disable-pip-version-check --no-deps
HASHES := --quiet --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
  --custom-compile-command "make lock"
COMPILE := .venv/bin/uv pip compile pyproject.toml $(HASHES)

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Install everything into .venv (once)

$(INSTALLED): requirements.lock
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is needed: install Python 3.11, or make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "installing about 250 packages into .venv, a minute or two"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation --no-index --editable .
	@touch $@

lock: $(INSTALLED) ## Pin all dependencies with hashes, after a change of pyproject.toml or requirements.txt
	@$(COMPILE) --extra airflow --extra train --extra dev -c requirements.txt -o requirements.lock > /dev/null
	@$(COMPILE) --extra airflow --excludes docker/airflow-excludes.txt -c requirements.lock -o docker/airflow.lock > /dev/null
	@$(COMPILE) --extra train --extra openvino -c requirements.lock -o docker/trainer-cpu.lock > /dev/null
	@$(COMPILE) --extra gpu -c requirements.lock -o docker/trainer-gpu.lock > /dev/null
	@$(COMPILE) --extra airflow --extra train --extra openvino -c requirements.lock -o docker/worker-cpu.lock > /dev/null
	@$(COMPILE) --extra airflow --extra gpu -c requirements.lock -o docker/worker-gpu.lock > /dev/null
	@echo cyclonedx-bom | .venv/bin/uv pip compile - $(HASHES) -c requirements.lock -c requirements.txt -o docker/sbom.lock > /dev/null

demo/faces/labels.csv: | $(INSTALLED)
	@echo "drawing 600 synthetic faces, with the faults that real labels have, into demo/faces"
	@rm -rf demo/faces; mkdir -p demo
	@$(RUN) sample --out demo/faces --count 600 --faults > demo/sample.log 2>&1 || { cat demo/sample.log; exit 1; }

# The demo is the same whatever is exported for an Airflow of your own.
DEMO := env $(foreach name,$(filter AGE_% AIRFLOW_%,$(.VARIABLES)),-u $(name)) AGE_LABELS=$(CURDIR)/demo/faces/labels.csv \
  AGE_STORE=$(CURDIR)/demo/store AGE_CACHE=$(CURDIR)/demo/cache AGE_RECIPE=demo AIRFLOW_HOME=$(CURDIR)/demo/airflow

demo: demo/faces/labels.csv ## Draw synthetic faces, retrain in Airflow, print the result
	@echo "running the DAG age_retraining (about a minute; full log: demo/airflow.log)"
	@$(DEMO) $(RUN) airflow dags test age_retraining 2>&1 | tee demo/airflow.log \
	  | grep --line-buffered -oE '== stage [a-z]+: .+ ==' \
	  || { sed -n 's/.*Task exited .*exit_code=//p' demo/airflow.log | grep . || tail -n 5 demo/airflow.log; echo "the demo failed; see demo/airflow.log"; exit 1; }
	@$(DEMO) $(RUN) summary

up: $(INSTALLED) ## Start Airflow and its UI
	@$(RUN) up

test: $(INSTALLED) ## Run all tests, with coverage
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

test-fast: $(INSTALLED) ## Run the tests that need neither TensorFlow nor Airflow, for every save
	@.venv/bin/python -m pytest -n 2 --dist loadfile -m "not slow and not e2e and not docker and not faults and not backbones"

test-e2e: $(INSTALLED) ## Run the tests that start a whole Airflow (minutes)
	@.venv/bin/python -m pytest tests/e2e -m e2e

screenshots: demo/faces/labels.csv ## Take the screenshots of docs/ in a browser, from runs on the demo's faces
	@SCREENSHOTS=docs .venv/bin/python -m pytest tests/e2e/test_in_the_browser.py -m e2e

test-faults: $(INSTALLED) ## Run the tests with killed processes, full disks, broken storage and bad input (one to two hours)
	@FAULTS_JSON=benchmarks/faults.json .venv/bin/python -m pytest -n 2 --dist worksteal -m '' tests/faults tests/store/test_s3_errors.py

test-backbones: $(INSTALLED) ## Run the tests of networks for every backbone, not only one of each family
	@.venv/bin/python -m pytest -m backbones tests/training/test_pretrained.py tests/training/test_prefix_engine.py

compose-env: ## Write random passwords and keys for docker-compose.yaml into .env (once)
	@$(PYTHON) docker/make_env.py

test-docker: $(INSTALLED) ## Build the trainer image for CPUs and retrain in it (BASE=image BUILD="flags of docker build")
	@DOCKER_BUILDKIT=1 docker build $(BUILD) $(if $(BASE),--build-arg BASE=$(BASE)) --build-arg HARDWARE=cpu \
	  -f docker/trainer.Dockerfile -t age-trainer:test .
	@AGE_TRAINER_IMAGE=age-trainer:test .venv/bin/python -m pytest -m docker tests/docker/test_docker.py

STACK := docker compose --env-file tests/docker/build.env -f docker-compose.yaml -f docker/cpu.yaml -f docker/behind-proxy.yaml \
  -f tests/docker/stand-ins.yaml

images: ## Build the images of the compose stack, for CPUs (BASE=image)
	@BASE=$(or $(BASE),python:3.11.14-slim-bookworm) REVISION=$$(git rev-parse HEAD) \
	  BUILD_PIP=$${BUILD_PIP:-$(or $(wildcard /etc/pip.conf),/dev/null)} $(STACK) build --quiet

test-stack: $(INSTALLED) images ## Build the compose stack and live with it: runs, restarts, a second machine (BASE=image)
	@.venv/bin/python -m pytest -m docker tests/docker/test_stack.py

bench: $(INSTALLED) ## Compare speed with a plain Keras script (LABELS=faces/labels.csv COUNT=1000 PEERS=1; an hour or more)
	@$(if $(PEERS),.venv/bin/python -c "import torch, efficientnet_lite_pytorch" 2> /dev/null || .venv/bin/pip install --quiet -e ".[peers]")
	@.venv/bin/python -m benchmarks.bench $(if $(LABELS),--labels $(LABELS)) --count $(or $(COUNT),1000) $(if $(PEERS),--peers) $(BENCH)

gate-simulation: $(INSTALLED) ## How often the gate promotes equal, worse and better models (minutes)
	@.venv/bin/python -m benchmarks.gate_simulation

lint: docs types imports ## Check style, types, imports and documentation
	@.venv/bin/ruff check $(CODE)
	@.venv/bin/ruff format --check $(CODE)

docs: $(INSTALLED) ## Build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

types: $(INSTALLED) ## Check the types of all code but the tests
	@.venv/bin/mypy age_tasks plugins benchmarks dags docs

imports: $(INSTALLED) ## Check who imports whom
	@PYTHONPATH=.:plugins .venv/bin/lint-imports

format: $(INSTALLED) ## Correct the style
	@.venv/bin/ruff format $(CODE)
	@.venv/bin/ruff check --fix $(CODE)

vulnerabilities: ## Check the locked packages for known vulnerabilities
	@pipx run pip-audit --no-deps --disable-pip -r requirements.lock

clean: ## Remove demo results and caches, not .venv
	rm -rf demo site .age .airflow .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis .coverage*

bench-growth: $(INSTALLED) ## Measure how the stages grow with the number of images, 1,000 to 1,000,000 (half an hour; 1 GB of disk)
	@.venv/bin/python -m benchmarks.growth $(BENCH)

.PHONY: help setup lock demo up test test-fast test-e2e screenshots test-faults test-backbones compose-env test-docker test-stack bench bench-growth gate-simulation lint docs types imports format images vulnerabilities clean
