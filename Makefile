# make demo       20 conformations of BPTI in demo/
# make test       lint and tests
# make lint       ruff, and mypy on the public API
# make examples   the scripts in examples/ with small settings, in build/examples
# make coverage   tests, and which lines none of them runs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BPTI := RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA

.PHONY: demo test lint examples coverage clean

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[plots,test]'
	touch $@

demo: $(VENV)/installed
	rm -rf demo
	$(BIN)/openmm-slm sample $(BPTI) -n 20 --seed 1 -o demo
	$(BIN)/python tools/plot_ensemble.py demo

test: $(VENV)/installed lint
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: $(VENV)/installed
	$(BIN)/python -m pytest --cov=openmm_slm --cov-report=term:skip-covered

examples: $(VENV)/installed
	$(BIN)/python tools/make_notebooks.py --check
	mkdir -p build/examples
	cd build/examples && for script in $(CURDIR)/examples/*.py; do \
	  OMP_NUM_THREADS=1 $(CURDIR)/$(BIN)/python $$script --quick || exit 1; done

clean:
	rm -rf $(VENV) demo build dist *.egg-info
