# make demo    sets up what is missing, moves the paper's two guests in the lab, prints where the reports are
# make test    sets up what is missing, then all tests
# make check   lint, types, unit tests: under three minutes
# make test-xen  tests against a real Xen with a real Dom-0, in QEMU; as root, some twelve minutes the first time
# make browser  a guest's move by hand, 10 to 60, in a real JupyterLab and a real browser; some minutes
# make guests  every guest of the lab, booted before it is prepared and after, as a table
# make proof   a gateway collapses in the lab's network, its cause is named, it is cured, as a table
# make proof-vmxnet3  the same on the device that it is about, with a driver like those before 2015; needs a compiler, ten minutes
# make faults  whatever can go wrong while a guest is deployed, cut over or rolled back, and what became of it, as a table
# make docs    the documentation as a site, in build/docs, without a network
# make wheel   the program with its runbooks as one file for pip, in build/wheel
# make lab     the runbooks in JupyterLab, on this machine only, with a token
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
BIN := .venv/bin
# two processes more than cores: much of a system test is waiting
WORKERS := -n $(shell echo $$(($$(nproc) + 2))) --dist loadscope --no-loadscope-reorder
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# where it is set, each of a thousand processes compiles all modules again
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test test-xen browser check lint guests proof proof-vmxnet3 faults docs pictures wheel lab lab-down schemas codes lock clean

help:
	@sed -n 's/^# //p' Makefile | head -12

setup:
	@.ci/setup

demo: setup
	@hikkoshi lab up
	@hikkoshi run idp gateway --apply --through 60-deploy
	@hikkoshi approve idp --key outputs/keys/approver --yes
	@hikkoshi approve gateway --key outputs/keys/approver --yes
	@hikkoshi run idp gateway --apply --from 70-cutover --through 90-report
	@hikkoshi status
	@hikkoshi verify
	@[ ! -e outputs/lab/ssh_config ] || { printf '\nThe moved gateway answers: '; ssh -F outputs/lab/ssh_config gateway cat /etc/motd; }
	@printf '\nThe reports:\n'; ls -1 $(CURDIR)/outputs/reports/*
	@printf '\nThe lab is still up: `make lab` opens the runbooks, `make lab-down` ends it.\n'

test: setup
	@$(PY) -m pytest $(WORKERS) tests/unit tests/notebooks tests/system

test-xen: setup
	@$(PY) -m pytest tests/xen --durations=5

browser: setup
	@$(PY) -m pytest -s tests/walk

check: lint
	@$(PY) -m pytest -q $(WORKERS) tests/unit

lint: setup
	@ruff check .
	@ruff format --check .
	@mypy
	@nbstripout --verify --keep-id $(filter-out notebooks/81-table1.ipynb,$(wildcard notebooks/*.ipynb))

guests: setup
	@$(PY) -m hikkoshi_lab.debian all
	@$(PY) -m hikkoshi_lab.matrix

proof: setup
	@$(PY) -m hikkoshi_lab.proof

proof-vmxnet3: setup
	@$(PY) -m hikkoshi_lab.vmxnet3

faults: setup
	@$(PY) -m hikkoshi_lab.faults

# the tutorial's pictures, after `make demo`
pictures:
	@$(PY) -m hikkoshi_lab.album docs/pictures

docs: setup
	@rm -rf build/docs build/doctrees # a page that did not change would keep its old list of pages
	@sphinx-build -q -W --keep-going -b html -c docs -d build/doctrees . build/docs
	@printf 'The site: %s\n' $(CURDIR)/build/docs/index.html

lab: setup
	@hikkoshi lab up
	@hikkoshi jupyter

lab-down:
	@hikkoshi lab down

# nothing is fetched for it, and nothing of an earlier build is in it
wheel: setup
	@rm -rf build/wheel
	@$(PY) -m pip wheel -q --disable-pip-version-check --no-input --no-index --no-deps --no-build-isolation -w build/wheel .
	@ls build/wheel/*.whl

# JSON Schemas of the parameter files, for editors
schemas:
	@$(PY) -c 'from pathlib import Path; from hikkoshi.params import schema; schema.write(Path("params/schema"))'

# pages of docs/ that are made of the source
codes:
	@$(PY) tests/unit/test_codes.py
	@$(PY) tests/unit/test_reference_pages.py

lock:
	@rm -rf build/lock && /usr/bin/python3 -m venv build/lock && build/lock/bin/pip install -q --require-hashes -r .ci/pip-tools.lock
	@CUSTOM_COMPILE_COMMAND='make lock' build/lock/bin/pip-compile -q --extra dev --extra docs --generate-hashes --strip-extras --allow-unsafe \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links -o requirements.lock pyproject.toml

# what can be made again; never journals, records, disks or reports
clean:
	@hikkoshi lab down 2>/dev/null || true
	@rm -rf .venv build lib/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
