# The commands of this project. A target that needs the environment makes it first, once.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready-$(shell cat requirements.lock pyproject.toml | sha256sum | cut -c1-16)
export OMP_NUM_THREADS ?= 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help setup demo check fix test test-long mutations bench-glip bench-one-number headline headline-tune headline-full check-online bench-teachers bench-scale bench-engine bench-phrases bench-compile bench-loader lock clean

help:  ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

setup: $(STAMP)  ## make the environment in .venv from the locked versions

$(STAMP):  # its name has the digest of what it was made from, so a new checkout of the same files does nothing
	@deploy/setup.sh $(PYTHON) $(VENV) $@

demo: $(STAMP)  ## run the whole loop on the tiny world (ten to twenty minutes on two cores)
	@$(BIN)/groundswell demo

check: $(STAMP)  ## check format, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

fix: $(STAMP)  ## format all files and apply the lint fixes that are safe
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

ONE ?=
test: $(STAMP)  ## run the tests of every change, or only ONE=tests/schemas/test_boxes.py[::test_name]
ifeq ($(ONE),)
	@$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadgroup --max-worker-restart 0
else
	@$(BIN)/python -m pytest -q -n 0 $(ONE)
endif

test-long: test  ## the tests that every change runs, and then the long suites
	@$(BIN)/python -m pytest -q -m slow

mutations: $(STAMP)  ## remove guards one by one and expect a test to fail (ONE=tests/reading/test_folder.py; hours without)
	@$(BIN)/python -m tests.mutations $(or $(ONE),tests)

check-online: $(STAMP)  ## compare boxes with published ones on downloaded checkpoints (needs a network; not in CI)
	@$(BIN)/python -m benchmarks.published_checkpoints $(ARGS)

bench-teachers: $(STAMP)  ## compare a labeler's speed with transformers' pipeline and batches (a quarter of an hour or more, two idle cores)
	@OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.teachers_speed

bench-one-number: $(STAMP)  ## compare the student with its control on seeds 0, 1 and 2 (about 20 minutes)
	@for seed in 0 1 2; do $(BIN)/python -m benchmarks.one_number --seed $$seed --out .bench/one-number/$$seed || exit; done

headline: $(STAMP)  ## compare the student with its controls on eight fresh seeds, an hour at most (ARGS="--until 30")
	@$(BIN)/python -m benchmarks.headline base $(ARGS)

headline-tune: $(STAMP)  ## tune the control as often as the student, on other seeds (about 40 minutes)
	@$(BIN)/python -m benchmarks.headline tune $(ARGS)

headline-full: $(STAMP)  ## run every ablation, a new task and two hard worlds, three seeds each (hours)
	@$(BIN)/python -m benchmarks.headline full $(ARGS)

bench-glip: $(STAMP)  ## measure GLIP's speed and memory on this machine, and those of Grounding DINO tiny
	@$(BIN)/python -m benchmarks.glip_speed

bench-engine: $(STAMP)  ## compare the engine with bare loops and Ray Data; one driver with 10^6 units (about ten minutes, two idle cores)
	@$(BIN)/python -m benchmarks.engine
	@$(BIN)/python -m benchmarks.engine_scale

bench-loader: $(STAMP)  ## compare the training's loader with webdataset and a bare loop (two minutes, two idle cores)
	@$(BIN)/python -m benchmarks.loader

bench-scale: $(STAMP)  ## measure the driver with 10^6 units and 10^4 simulated actors (some minutes)
	@$(BIN)/python -m benchmarks.engine_scale

CAPTIONS ?= ../shared/data/treebanks/cc3m_val_captions.txt
bench-phrases: $(STAMP)  ## measure captions per second of one core, and of bare nlp.pipe (CAPTIONS=file, one per line)
	@$(BIN)/python -m benchmarks.phrases_speed --captions $(CAPTIONS)

bench-compile: $(STAMP)  ## measure rows per second of compile on one core, and of bare Parquet (about a minute)
	@$(BIN)/python -m benchmarks.compile_speed

lock: requirements.in  ## resolve requirements.in again (needs uv on the PATH)
	@deploy/lock.sh requirements.in requirements.lock

clean:  ## delete the outputs of demo and benchmarks
	rm -rf .demo .bench
