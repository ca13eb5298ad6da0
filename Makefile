# make demo       20 conformations of BPTI in demo/
# make test       lint, and all tests but the slow ones
# make test-slow  the tests that are marked slow
# make lint       ruff, mypy on the public API, notebooks are those of their scripts
# make examples   the scripts in examples/ with small settings, in build/examples
# make docs       the documentation, in build/docs; warnings are errors
# make wheel      sdist and wheel built, installed and used
# make conda      the conda recipe built, tested and installed, without a channel
# make train      the whole training: make train DATA=shards MINUTES=300 [RUNS=runs] [SIZE=gpu]
# make coverage   tests, and which lines none of them runs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BPTI := RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA

RUNS ?= runs
SIZE ?= cpu

.PHONY: demo test test-slow lint examples docs wheel conda train coverage clean

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[plots,test]'
	touch $@

demo: $(VENV)/installed
	rm -rf demo
	$(BIN)/openmm-slm sample $(BPTI) -n 20 --seed 1 -o demo
	$(BIN)/python tools/plot_ensemble.py demo

PYTEST := OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test: $(VENV)/installed lint
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/installed
	$(PYTEST) -m slow

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/make_notebooks.py --check
	$(BIN)/python tools/make_stub.py --check

train: $(VENV)/installed
	$(BIN)/python tools/train_all.py $(DATA) $(RUNS) --minutes $(MINUTES) --size $(SIZE)

coverage: $(VENV)/installed
	$(BIN)/python -m pytest --cov=openmm_slm --cov-report=term:skip-covered

examples: $(VENV)/installed
	$(BIN)/python tools/make_notebooks.py --check
	mkdir -p build/examples
	cd build/examples && for script in $(CURDIR)/examples/*.py; do \
	  OMP_NUM_THREADS=1 $(CURDIR)/$(BIN)/python $$script --quick || exit 1; done

docs: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -b html docs build/docs
	BUILT_SITE=build/docs $(BIN)/python -m pytest tests/house/test_docs.py -k "site or page_of or python_page"

$(VENV)/packaging: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[packaging]'
	touch $@

wheel: $(VENV)/packaging
	OMP_NUM_THREADS=1 $(BIN)/python tools/check_wheel.py

conda: $(VENV)/packaging
	OMP_NUM_THREADS=1 $(BIN)/python tools/check_conda.py

clean:
	rm -rf $(VENV) demo build dist *.egg-info
