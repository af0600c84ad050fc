# `make demo` shows it, `make test` proves it. Both make .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test check peers bench soak capacity lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   train a small model, export it, serve it, and watch it write"
	@echo "make test   everything that has to pass"
	@echo "make check  the static part of it: format, lint, types, imports, stubs"
	@echo "make peers  the clients and the Prometheus that the tests talk with, into .peers; make test"
	@echo "            does it too"
	@echo "make bench  measure everything side by side: about 25 minutes, and nothing else meanwhile"
	@echo "make soak   mixed traffic for an hour; fails when anything of the server grows"
	@echo "make capacity  2,000 sessions, overload, cancelled streams: about 7 minutes"
	@echo "make lock   write constraints.txt anew from what .venv holds"
	@echo "make clean  remove what the other targets made"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/rnnserve train runs/demo $(if $(wildcard runs/demo/checkpoint.pt),--resume)
	$(BIN)/rnnserve export runs/demo --repository repository
	$(BIN)/rnnserve demo demo --repository repository

test: check peers
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
