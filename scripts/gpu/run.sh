#!/bin/sh
# Run a job of the kit: sh scripts/gpu/run.sh JOB [key=value ...], from the root of the repository. See README.md.
# LIMIT: seconds until it has ended (540). OUT: folder of the results (results/gpu). KIT: what pack.sh made (gpu-kit).
# PYTHON: interpreter (python3).
set -eu
[ $# -ge 1 ] || { echo "usage: sh scripts/gpu/run.sh organic|organic-cc|diffusion|molecules|relaxations|acac [key=value ...]" >&2; exit 2; }
begun=$(date +%s)
LIMIT=${LIMIT:-540}
OUT=${OUT:-results/gpu}
KIT=${KIT:-gpu-kit}
PYTHON=${PYTHON:-python3}
mkdir -p "$OUT"
if ls "$KIT"/wheels/*.whl >/dev/null 2>&1; then
  site=$(mktemp -d)
  "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
    --root-user-action=ignore --target "$site" "$KIT"/wheels/*.whl
  # torch-sim imports PyTables for trajectory files, which no job writes
  "$PYTHON" -c 'import tables' 2>/dev/null || cp scripts/gpu/tables_stand_in.py "$site/tables.py"
  PYTHONPATH="$site:$PWD${PYTHONPATH:+:$PYTHONPATH}"
else
  PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
fi
DEADLINE=$((begun + LIMIT))
export OUT DEADLINE PYTHONPATH PYTHONUNBUFFERED=1 TQDM_DISABLE=1
# the job ends by itself; this ends one that hangs
exec timeout -k 10 $((LIMIT + 20)) "$PYTHON" -m scripts.gpu.job "$@"
