# SPDX-License-Identifier: Apache-2.0
# make demo | make test: each installs into .venv first. Another interpreter: make PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
OUT ?= out/demo
LINTED = crossview_ros launch test .ci benchmarks setup.py

# one leg of training on a CUDA device; the next call goes on where it stopped
MINUTES ?= 8
START ?= models/crossview_tiny
GPU_PYTHON ?= python3
GPU_CONFIG ?= config/train/crossview_tiny_gpu.yaml
GPU_RUN ?= runs/gpu
GPU_OUT ?= out/gpu
GPU_MODEL ?= crossview_tiny
GPU_VERB ?= finetune

.PHONY: install demo test lint bench-accuracy gpu-leg engines

install:
	@$(PYTHON) .ci/install.py --venv $(VENV)

demo: install
	$(VENV)/bin/crossview demo --out $(OUT)

test: install
	$(VENV)/bin/python -m pytest -n 2 --dist loadgroup

lint: install
	$(VENV)/bin/ament_flake8 $(LINTED)
	$(VENV)/bin/ament_pep257 $(LINTED)

# the shipped model against benchmarks/accuracy.json; needs the samples in ../shared/data
bench-accuracy: install
	OMP_NUM_THREADS=1 $(VENV)/bin/python benchmarks/accuracy.py

# TensorRT-RTX's builder on the shipped model and on CroCo-Stereo, no GPU needed; slow
engines: install
	$(VENV)/bin/python benchmarks/engines.py

gpu-leg:
	$(GPU_PYTHON) -m crossview_ros.cli.main $(GPU_VERB) $(GPU_CONFIG) --run-dir $(GPU_RUN) \
	    --device cuda --stop-after $(MINUTES) --set model.start_from=$(START) \
	    $(if $(wildcard $(GPU_RUN)/last.pt),--resume)
	$(if $(filter finetune,$(GPU_VERB)),$(GPU_PYTHON) -m crossview_ros.cli.main export $(GPU_RUN) \
	    --out $(GPU_OUT)/$(GPU_MODEL) \
	    --command 'make gpu-leg MINUTES=$(MINUTES) START=$(START) GPU_CONFIG=$(GPU_CONFIG)')
