# What a newcomer types. Every target that needs the environment makes it first, once.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready-$(shell cat requirements.lock pyproject.toml | sha256sum | cut -c1-16)
export OMP_NUM_THREADS ?= 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help setup demo test test-long bench-glip bench-one-number headline headline-tune headline-full bench-scale bench-engine bench-phrases bench-compile bench-loader check lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## the environment in .venv, from the locked versions

$(STAMP):  # its name says what it was made from, so that a new checkout of the same files does nothing
	@deploy/setup.sh $(PYTHON) $(VENV) $@

demo: $(STAMP)  ## the whole loop on the tiny world, about ten minutes on two cores
	@$(BIN)/groundswell demo

test: $(STAMP)  ## the tests that every change runs
	@$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadgroup --max-worker-restart 0

test-long: $(STAMP)  ## all tests, the long suites too
	@$(BIN)/python -m pytest -q

bench-one-number: $(STAMP)  ## student against its fair control on seeds 0, 1 and 2 (about 20 minutes)
	@for seed in 0 1 2; do $(BIN)/python -m benchmarks.one_number --seed $$seed --out .bench/one-number/$$seed || exit; done

headline: $(STAMP)  ## student against fair controls on eight fresh seeds, an hour at most (ARGS="--until 30")
	@$(BIN)/python -m benchmarks.headline base $(ARGS)

headline-tune: $(STAMP)  ## as many tuning runs for the control as for the student, on other seeds (some 40 minutes)
	@$(BIN)/python -m benchmarks.headline tune $(ARGS)

headline-full: $(STAMP)  ## every ablation, a new task and two hard worlds, three seeds a row (hours)
	@$(BIN)/python -m benchmarks.headline full $(ARGS)

check: $(STAMP)  ## format, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench-glip: $(STAMP)  ## GLIP's speed and memory on this machine, beside Grounding DINO tiny
	@$(BIN)/python -m benchmarks.glip_speed

bench-engine: $(STAMP)  ## the engine beside bare loops and Ray Data, and one driver with 10^6 units (some ten minutes, two idle cores)
	@$(BIN)/python -m benchmarks.engine
	@$(BIN)/python -m benchmarks.engine_scale

bench-loader: $(STAMP)  ## the training's loader beside webdataset and a bare loop (two minutes, two idle cores)
	@$(BIN)/python -m benchmarks.loader

bench-scale: $(STAMP)  ## the driver with 10^6 units and 10^4 simulated actors (some minutes)
	@$(BIN)/python -m benchmarks.engine_scale

CAPTIONS ?= ../shared/data/treebanks/cc3m_val_captions.txt
bench-phrases: $(STAMP)  ## captions per second of one core, beside bare nlp.pipe (CAPTIONS=file, one a line)
	@$(BIN)/python -m benchmarks.phrases_speed --captions $(CAPTIONS)

bench-compile: $(STAMP)  ## rows per second of compile on one core, beside bare Parquet (about a minute)
	@$(BIN)/python -m benchmarks.compile_speed

lock: requirements.in  ## resolve requirements.in anew (needs uv on the PATH)
	@deploy/lock.sh requirements.in requirements.lock

clean:  ## forget the outputs of demo and benchmarks
	rm -rf .demo .bench
