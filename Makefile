# `make demo` shows the main job, `make test` runs everything that has to pass. Both make .venv first.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec

PYTHON ?= python3
BIN := .venv/bin
# Two stamps: the demo needs less than the tests do.
TRAIN := .venv/.train
READY := .venv/.ready

INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off \
	--constraint constraints.txt --editable
# pip's output cut to a line a download: what comes, and how big it is.
LINES = sed -un \
	-e 's|^ *Downloading \([^ /]*/\)*\([^ /-]*-[^ /-]*\)-[^ /]*\.whl.*(\(.*\)).*|      \2, \3|p' \
	-e 's|^Installing collected packages.*|      unpacking|p'

.PHONY: help demo test check peers bench soak capacity lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   train a small model, export it, serve it, and watch it write (about 3 minutes"
	@echo "            after the downloads, 1.3 GB on disk)"
	@echo "make test   everything that has to pass (about 12 minutes after the downloads, 2.2 GB)"
	@echo "make check  the static part of it: format, lint, types, imports, stubs"
	@echo "make peers  the clients and the Prometheus that the tests talk with, into .peers; make test"
	@echo "            does it too"
	@echo "make bench  measure everything side by side: about 25 minutes, and nothing else meanwhile"
	@echo "make soak   mixed traffic for an hour; fails when anything of the server grows"
	@echo "make capacity  2,000 sessions, overload, cancelled streams: about 7 minutes"
	@echo "make lock   write constraints.txt anew from what .venv holds"
	@echo "make clean  remove what the other targets made"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@echo "[1/5] a virtual environment in .venv"
	@$(PYTHON) -m venv .venv

$(TRAIN): pyproject.toml constraints.txt | .venv/bin/python
	@echo "[2/5] the packages for training and serving: torch, onnx, onnxruntime, gRPC and a few more"
	@$(INSTALL) '.[train]' | $(LINES)
	@touch $(TRAIN)

$(READY): pyproject.toml constraints.txt | .venv/bin/python
	@echo "the packages for training, serving and the tests"
	@$(INSTALL) '.[dev]' | $(LINES)
	@touch $(TRAIN) $(READY)

demo: $(TRAIN)
	@echo "[3/5] train a character model on Python's standard library: about a minute on two cores"
	@$(BIN)/rnnserve train runs/demo $(if $(wildcard runs/demo/checkpoint.pt),--resume)
	@echo "[4/5] export it to ONNX, proved against torch and NumPy"
	@$(BIN)/rnnserve export runs/demo --repository repository
	@echo "[5/5] serve it, stream what it writes, and stop"
	@$(BIN)/rnnserve demo demo --repository repository

test: check peers
	@echo "the tests: about 12 minutes on two quiet cores"
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python proto/generate.py --check
	$(BIN)/python deploy/grafana/dashboard.py --check
	$(BIN)/python deploy/prometheus/prometheus_rule.py --check
	cd deploy/grafana && ../../$(BIN)/mypy --strict --config-file= dashboard.py queries.py

peers: $(READY)
	PYTHONPATH=tests $(BIN)/python -m peers.install

bench: $(READY)
	$(BIN)/python -m rnnserve_bench install-triton
	$(BIN)/python -m rnnserve_bench profile
	$(BIN)/python -m rnnserve_bench run

soak: $(READY)
	$(BIN)/python -m rnnserve_bench soak --minutes 60 --output bench
	$(BIN)/python -m rnnserve_bench report --output bench

capacity: $(READY)
	$(BIN)/python -m rnnserve_bench capacity
	$(BIN)/python -m rnnserve_bench report --output bench

lock: $(READY)
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf .venv .peers runs repository dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
