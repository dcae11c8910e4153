# SPDX-License-Identifier: Apache-2.0
# make demo | make test: each installs into .venv first. Another interpreter: make PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
OUT ?= out/demo
LINTED = crossview_ros launch test .ci setup.py

.PHONY: install demo test lint

install:
	@$(PYTHON) .ci/install.py --venv $(VENV)

demo: install
	$(VENV)/bin/crossview demo --out $(OUT)

test: install
	$(VENV)/bin/python -m pytest

lint: install
	$(VENV)/bin/ament_flake8 $(LINTED)
	$(VENV)/bin/ament_pep257 $(LINTED)
