# Each target sets itself up; nothing has to be prepared beforehand.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup run test lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## create .venv, install everything pinned, compile the kernels
	@packaging/setup/setup.sh run

run: setup ## open the window
	@if [ -z "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
	  echo 'There is no display here; in the terminal: .venv/bin/selenograph run "What is 17*23 + 4?"' >&2; \
	  exit 1; \
	fi
	@.venv/bin/selenograph

test: lint ## linters, then every test
	@packaging/setup/tests.sh

lint: ## ruff, mypy, import contracts
	@packaging/setup/setup.sh test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

clean: ## remove .venv and everything built
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find engine/native/cmake -mindepth 1 ! -name CMakeLists.txt ! -name .gitignore -delete
	find engine/native -maxdepth 1 -name '_kernels*.so' -delete
	find app engine ui resources packaging tests -name __pycache__ -type d -prune -exec rm -rf {} +
