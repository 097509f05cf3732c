# The two commands a newcomer needs: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
# uv takes a quarter of pip's time and knows nothing of pip's configuration: whoever names an index there keeps pip.
INSTALLER ?= $(if $(shell $(PYTHON) -m pip config list 2>&1 | grep -E "index-url|no-index"),pip,uv)
INSTALL = { test $(INSTALLER) = uv && $(PIP) uv && $(UV) $(1); } || $(PIP) $(1)
# On all cores, where pip would do it on one. Left out is what nothing here imports; templates that are no Python fail.
UNUSED := /(tests?|pip|setuptools|mypyc?|networkx|narwhals|opinfo|fx_passes|kernel)/
COMPILE := $(BIN)/python -m compileall -q -j 0 -x '$(UNUSED)' .venv/lib > .venv/uncompiled || true
TEST_SECONDS ?= 570

.PHONY: run install install-test test test-long generated clean

run: install
	$(BIN)/atentdsl run recipes/atent_linf.toml

install: .venv/installed
install-test: .venv/installed-test

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(call INSTALL,--editable .)
	$(COMPILE)
	touch $@

.venv/installed-test: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(call INSTALL,--editable '.[test]')
	$(COMPILE)
	touch .venv/installed $@

# Fails above nine and a half minutes. Every check is a pytest test, so one report names all that does not hold.
# Where Python writes no bytecode of its own (PYTHONDONTWRITEBYTECODE), each process that a test begins would compile anew.
test: install-test
	$(BIN)/python -m compileall -q atentdsl
	timeout --signal=INT --kill-after=20 $(TEST_SECONDS) $(BIN)/python -m pytest -n 2 --dist worksteal -m "not long" --durations=10

test-long: install-test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m long --durations=10

# Writes what is derived: the compiled modules of the shipped recipes, and the primitives' pages.
generated: install
	$(BIN)/atentdsl compile --all
	$(BIN)/python docs/pages.py

clean:
	rm -rf .venv dist runs
