# make demo [INPUT=my.nii.gz]   enhance a scan (the bundled phantom by default), write volume and picture to demo/,
#                               say what to look at and, for the phantom, how large the errors are
# make test                     style check and all tests
# make benchmark [AGAINST=...]   speed and memory, printed as measured; beside an older commit, as ratios
# make gpu [DATA=packed.zip]    on a machine with an NVIDIA card: check, measure, train for 8 minutes; all in gpu/

PYTHON ?= python3
SAMPLE := Resources/SampleData/ThoraxPhantom_5mm.nrrd
INPUT ?= $(SAMPLE)
RUN := .venv/bin/python

.PHONY: demo test benchmark gpu

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
	@echo
	@if [ "$(INPUT)" -ef "$(SAMPLE)" ]; then $(RUN) -m Testing.benchmarks.demo_numbers "$(INPUT)" demo/thin.nii.gz; fi
	@echo "thin slices: demo/thin.nii.gz   picture: demo/comparison.png"
	@echo "In the picture, look at the coronal and sagittal planes: the upper row shows the input as it is, in steps as"
	@echo "high as its slices; the row below shows the result. Compare ribs, the dome of the diaphragm and small vessels."

test: .venv/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest --numprocesses auto --dist loadfile

benchmark: .venv/ready
	$(RUN) -m Testing.benchmarks.networks
	$(RUN) -m Testing.benchmarks.volumes $(if $(AGAINST),--against "$(AGAINST)")

gpu:
	$(PYTHON) -m Testing.gpu --minutes 8 --output gpu $(if $(DATA),--data "$(DATA)")
