# make demo [INPUT=my.nii.gz]   enhance a scan (the bundled phantom by default), write volume and picture to demo/
# make test                     style check and all tests
# make benchmark                speed and memory, printed as measured

PYTHON ?= python3
INPUT ?= Resources/SampleData/ThoraxPhantom_5mm.nrrd
RUN := .venv/bin/python

.PHONY: demo test benchmark

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --requirement requirements.txt
	$(RUN) -m pip install --quiet --no-deps --editable .
	touch $@

demo: .venv/ready
	mkdir -p demo
	$(RUN) -m ThickToThinSRLib enhance "$(INPUT)" demo/thin.nii.gz --overwrite
	$(RUN) -m ThickToThinSRLib compare "$(INPUT)" demo/thin.nii.gz --output demo/comparison.png --overwrite
	@echo "thin slices: demo/thin.nii.gz   picture: demo/comparison.png"

test: .venv/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest

benchmark: .venv/ready
	$(RUN) -m Testing.benchmarks.networks
	$(RUN) -m Testing.benchmarks.volumes
