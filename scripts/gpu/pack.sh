#!/bin/sh
# Fill gpu-kit/ for a job: sh scripts/gpu/pack.sh JOB [every=N], from the root of the repository. See README.md.
# Wheels have the versions of constraints.txt. organic and organic-cc: the labels of training/, or every N-th of them.
# acac: DATA=folder of the published files.
# PYTHON: interpreter with gendesign's environment (.venv/bin/python). MIB: what may travel (64). WHEELS=0: no download.
set -eu
PYTHON=${PYTHON:-.venv/bin/python}
KIT=${KIT:-gpu-kit}
MIB=${MIB:-64}
job=${1:?usage: sh scripts/gpu/pack.sh organic|organic-cc|diffusion|molecules|relaxations|acac [every=N]}
shift
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
base="ase e3nn lmdb mace-torch matscipy orjson"
relax="$base rdkit torch-sim-atomistic spglib"  # without PyTables (15 MB), for which run.sh has a stand-in
case $job in
  organic | organic-cc) names=$base ;;
  diffusion) names="$base rdkit" ;;
  molecules) names=$relax ;;
  relaxations) names="$relax pymatgen-core pymatgen monty ruamel.yaml" ;;
  acac) names="$base rdkit" ;;
  *) echo "no job $job; give organic, organic-cc, diffusion, molecules, relaxations or acac" >&2; exit 2 ;;
esac
mkdir -p "$KIT"
if [ "${WHEELS:-1}" = 1 ]; then
  rm -rf "$KIT/wheels" && mkdir -p "$KIT/wheels"
  pinned=""
  for name in $names; do
    pinned="$pinned $(grep -i "^$name==" constraints.txt)" || { echo "constraints.txt has no $name" >&2; exit 1; }
  done
  platforms=""
  for n in 17 24 26 27 28 31 34 35; do platforms="$platforms --platform manylinux_2_${n}_x86_64"; done
  # shellcheck disable=SC2086  # words are meant to be split
  "$PYTHON" -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp $platforms --platform manylinux2014_x86_64 --platform manylinux1_x86_64 -d "$KIT/wheels" $pinned
fi
rm -f "$KIT"/*.npz
rm -rf "$KIT/acac"
case $job in
  organic | organic-cc)
    "$PYTHON" -m scripts.gpu.labels "$job" "$KIT" "$@"
    ;;
  diffusion) "$PYTHON" -m scripts.gpu.diffusion "$KIT" ;;
  acac) mkdir -p "$KIT/acac" && cp "${DATA:?DATA=folder of the acetylacetone files}"/*.xyz "$KIT/acac/" ;;
esac
kit=$(find -L "$KIT" -type f -printf '%s\n' | awk '{n += $1} END {print n + 0}')
tree=$(git ls-files -co --exclude-standard -z | xargs -0 -r stat -c %s 2>/dev/null | awk '{n += $1} END {print n + 0}')
awk -v kit="$kit" -v tree="$tree" -v most="$MIB" 'BEGIN {
  total = (kit + tree) / 1048576
  printf "kit %.1f MiB + repository %.1f MiB = %.1f of %g MiB\n", kit / 1048576, tree / 1048576, total, most
  if (total > most) { print "too large: pack fewer labels (every=N) or fewer wheels" > "/dev/stderr"; exit 1 }
}'
