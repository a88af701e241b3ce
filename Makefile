# Each target sets the machine up by itself; see CONTRIBUTING.md.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
export PYTHON
RUN := scripts/run.sh
ARGS ?=
DURATION ?= 60

SECONDS ?= 60
WORKERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); echo $$((cores < 4 ? cores + 1 : 4)))

.PHONY: help setup demo test coverage ros-check gpu-check lint check fuzz bench soak clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */make \1\t/' | expand -t 14
	@echo 'PYTHON=python3.11 picks the interpreter; ARGS="..." goes to demo, test, ros-check, fuzz, bench and soak.'

setup: ## make .venv with all that is needed; quick when nothing changed
	@scripts/setup.sh

demo: setup ## run the node on a bag of images; leaves a map and pictures in out/demo; rviz:=true opens RViz
	@$(RUN) python -m spann3r_ros demo $(if $(filter true,$(rviz)),--rviz) $(ARGS)

# Some tests kill nodes, and a killed node leaves 34 MB of shared memory behind: give back what nobody uses any more.
# One worker more than cores, for many tests wait for a node. More than one thread in each, and in the processes that
# they start, would only wait for each other.
test: export OMP_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
test: setup ## run the tests
	@$(RUN) fastdds shm clean >/dev/null 2>&1 || true
	@$(RUN) python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=20 $(ARGS)

# Tracing takes half as long again as the tests alone.
coverage: ARGS = --cov --cov-report=
coverage: test ## run the tests and tell how much of the ROS-free core they reach, with the floor of pyproject.toml

ros-check: setup ## run the tests of real ROS tools; SOURCES=folder runs those of pure Python from source
	@$(RUN) python test/support/ros_check.py $(if $(SOURCES),--sources $(SOURCES)) $(ARGS)

lint: setup ## check style, formatting and types
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy

check: test lint ## test and lint

gpu-check: setup ## run the tests of CUDA and the benchmark on a GPU; without one it says so and ends with status 3
	@$(RUN) python test/support/gpu_check.py

# atheris, which guides mutations by the code that they reach, is taken where it installs.
fuzz: setup ## mutated files into every reader, for SECONDS=60; none may let a foreign exception out
	@$(RUN) python -c 'import atheris' 2>/dev/null || $(RUN) python -m pip install -qq atheris 2>/dev/null || true
	@$(RUN) python test/support/reader_fuzz.py --seconds $(SECONDS) $(ARGS)

bench: setup ## measure time, memory and accuracy; leaves out/bench; SHORT=1 in minutes; FAMILY=name one family's network
	@$(RUN) python -m spann3r_ros bench $(if $(SHORT),--short) $(if $(FAMILY),--family $(FAMILY)) $(ARGS)

soak: setup ## throw faults at the running node, at random; DURATION=60 seconds
	@$(RUN) python -m spann3r_ros soak --duration $(DURATION) $(ARGS)

clean: ## remove .venv and everything that was built
	rm -rf .venv .setup.lock build install log out dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
