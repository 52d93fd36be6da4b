# `make demo` and `make test` build .venv once, from exact versions, and reuse it; `make check` adds the tools of the gates.
# The tests use networks so small that a second thread only waits; two processes share the files.
SHELL := /bin/sh
VENV := .venv
STAMP := $(VENV)/.installed
CHECKED := $(VENV)/.check-installed
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check docs clean

demo: $(STAMP)
	$(VENV)/bin/gendesign generate experiment=demo

# The floor of the coverage is in pyproject.toml. Children of tests are not counted.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile --cov --cov-report=

check: $(CHECKED) docs
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(CHECKED)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

$(CHECKED): $(STAMP)
	$(PIP) -e '.[test,check,docs]'
	@touch $@

# The first interpreter of Python 3.12 or newer wins; 3.12 is tried first because the pinned versions were chosen on it.
$(STAMP): pyproject.toml constraints.txt
	@set -e; found=""; \
	for python in python3.12 "$$(pyenv prefix 3.12 2>/dev/null)/bin/python" "$$HOME"/.pyenv/versions/3.12*/bin/python \
	    python3.13 "$$HOME"/.pyenv/versions/3.13*/bin/python python3 python; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' 2>/dev/null; \
	  then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "gendesign needs Python 3.12 or 3.13 with its venv module, and none was found as python3.12, python3.13," \
	    "python3 or in pyenv: install one (Debian: apt install python3.12-venv; pyenv: pyenv install 3.12)" >&2; exit 1; \
	fi; \
	echo "building $(VENV) with $$("$$found" --version); the libraries are several gigabytes, once"; \
	"$$found" -m venv --clear $(VENV); \
	$(PIP) -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV)
