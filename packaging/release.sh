#!/usr/bin/env bash
# Build the wheels and source distributions of the package and of its reference models, check them, and score with
# them in a new environment without network. Needs what `make install` installed, and the packages of
# constraints.txt as wheels in WHEELS (made by `pip download`, unless the folder exists).
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${VENV:-.venv}/bin DIST=${DIST:-dist} WHEELS=${WHEELS:-build/wheels}
rm -rf "$DIST" && mkdir -p "$DIST"
for project in . plugins/*/; do
	(cd "$project" && "$OLDPWD/$BIN/python" -m hatchling build -d "$OLDPWD/$DIST") >/dev/null
done
"$BIN/python" -m twine check --strict "$DIST"/*
[[ -d $WHEELS ]] || "$BIN/python" -m pip download --quiet -c constraints.txt -d "$WHEELS" "$DIST"/neurobench_grasp-*.whl \
	"torch" "stable-baselines3>=2.7" tensorboard gymnasium
TRIAL=$(mktemp -d)
trap 'rm -rf "$TRIAL"' EXIT
"$BIN/python" -m venv "$TRIAL/venv"
"$TRIAL/venv/bin/python" -m pip install --quiet --no-index --find-links "$WHEELS" --find-links "$DIST" -c constraints.txt \
	"neurobench-grasp[control]" neurobench-grasp-linear-kinematic neurobench-grasp-muscle-ppo
export NGB_CACHE=$TRIAL/cache
cd "$TRIAL"
venv/bin/ngb score --model muscle_ppo --model linear_kinematic --seed 0 --no-train
echo "released files: $(ls "$OLDPWD/$DIST" | wc -l) in $DIST"
