# Two commands on a fresh machine: `make demo` and `make test`. Both make the environment first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
RUNS   ?= runs
GRID   ?= grids/size.yaml
OUT    ?= report

export OMP_NUM_THREADS ?= 1
# Hundreds of processes import the package; where bytecode may not be kept, each compiles it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test pytest rest rest-slurm rest-others long-test lint style mypy browser sweep plan status report bench coverage worlds chaos slurm-test gpu-test docs pins rooms clean

demo: $(VENV)/ready
	$(BIN)/difgen sweep grids/size.yaml --runs $(RUNS) --cluster local
	$(BIN)/difgen report $(RUNS) --grid size --out $(OUT)
	@echo "open $(OUT)/report.html"

# The order of files is that of tests/conftest.py.
TOGETHER := -n auto --dist loadfile --no-loadscope-reorder

# All but what waits for a cluster (slurm), for faults (chaos) or for numbers (long): `make rest` runs those.
# mypy runs beside pytest, which often waits.
test: style browser
	+@$(MAKE) --no-print-directory --jobs=2 mypy pytest

# Run directories of tests lie in memory where there are 8 GB of it for files: on a disk each of some 150 writes of a
# sweep waits for it. They are removed where all passed. Chaos, which disks are for, keeps to the disk.
FOLDERS := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 8000000 {print "/dev/shm"}')

pytest: $(VENV)/ready
	@folder=$$(mktemp -d -p "$(or $(FOLDERS),$${TMPDIR:-/tmp})" difgen-tests.XXXXXX) && chmod 755 $$folder && \
	$(BIN)/python -m pytest --basetemp=$$folder/t $(TOGETHER) -m "not slurm and not chaos and not long" && \
	rm -rf $$folder

# What `make test` leaves out, in short: SLURM without what takes minutes, 20 faults, 18 refusals, and all of the long tests.
# Those on SLURM wait for it most of the time: they run in a process of their own, beside the others.
rest: $(VENV)/ready $(VENV)/docs browser
	+@$(MAKE) --no-print-directory --jobs=2 rest-slurm rest-others

rest-slurm: $(VENV)/ready
	$(BIN)/python -m pytest tests/slurm

rest-others: $(VENV)/ready
	$(BIN)/python -m pytest $(TOGETHER) -m "chaos or long"

# Real images, statistics, benchmarks, compilers, sweeps that are stopped and go on.
long-test: $(VENV)/ready $(VENV)/docs browser
	$(BIN)/python -m pytest $(TOGETHER) -m long

lint: style mypy

style: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

mypy: $(VENV)/ready
	$(BIN)/mypy

# The tests of the report's page run in Chromium; where it is not and cannot be installed, they are skipped and say so.
browser:
	@[ -n "$$DIFGEN_CHROMIUM" ] || command -v chromium || command -v chromium-browser || command -v google-chrome \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	       && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium; } \
	  || echo "no Chromium: the tests of the page in a browser will be skipped"

# The same steps one by one; on a cluster: make sweep GRID=grids/cifar10.yaml PROFILE=cluster
sweep: $(VENV)/ready
	$(BIN)/difgen sweep $(GRID) --runs $(RUNS) $(if $(PROFILE),--profile $(PROFILE))

plan: $(VENV)/ready
	$(BIN)/difgen plan $(GRID) --runs $(RUNS)

status: $(VENV)/ready
	$(BIN)/difgen status $(RUNS)

report: $(VENV)/ready
	$(BIN)/difgen report $(RUNS) --out $(OUT)

# Speed beside peers, growth, orchestration: some minutes on two quiet cores. The whole of one: python benchmarks/grid.py
bench: $(VENV)/bench
	$(BIN)/python benchmarks/training.py --cores 2
	$(BIN)/python benchmarks/sampling.py --cores 2
	$(BIN)/python benchmarks/stacking.py --counts 4 16 --repeats 3
	$(BIN)/python benchmarks/grid.py --seeds 1 --share 0.1
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/neighbours.py --runs 1
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/report.py

$(VENV)/bench: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

# How often the printed 95 % intervals cover what they are for: 2,000 draws of each world; `make rest` has 200 of some.
coverage: $(VENV)/ready
	$(BIN)/python tests/intervals/simulate.py

# Samples whose relation to the training images is known: every measure, every sentence; `make test` has eleven of them.
worlds: $(VENV)/ready
	$(BIN)/python tests/planted/table.py --sentences

# 200 random faults of eleven kinds, compared with an undisturbed run; `make rest` gives 20. As root, or no disk is full.
chaos: $(VENV)/ready
	DIFGEN_CHAOS_FAULTS=$${DIFGEN_CHAOS_FAULTS:-200} $(BIN)/python -m pytest tests/chaos -v

# Every fault on a real SLURM cluster of virtual nodes; as root on Debian, where tests/slurm/lab installs the packages.
slurm-test: $(VENV)/ready
	DIFGEN_SLURM_TESTS=all $(BIN)/python -m pytest tests/slurm -v

# The documents as a site with a search that needs no network: build/docs/index.html. A broken link ends the build.
docs: $(VENV)/docs
	$(BIN)/python docs/site/build.py

$(VENV)/docs: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

# What only a card can show, budget eight minutes: a table for benchmarks/NOTES.md; DEVICE=cpu: what a CPU can do of it.
gpu-test: $(VENV)/ready
	$(BIN)/python -W ignore tests/gpu/prove.py --device $(or $(DEVICE),cuda)

# Record that a plug-in's change left its results unchanged, or that its VERSION was raised.
pins: $(VENV)/ready
	$(BIN)/python tests/pins.py

# Write the map of packages in CONTRIBUTING.md anew, from their docstrings.
rooms: $(VENV)/ready
	$(BIN)/python tests/rooms.py

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
