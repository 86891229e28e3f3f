#!/bin/sh
# Sets up what the tests need in .venv and runs them: lint, types, the suite under tf_keras, and once more under
# Keras 3 what has to work there. `tests/run.sh --slow` adds the tests marked slow.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check -e '.[test]'
marks='not slow'
if [ "${1:-}" = "--slow" ]; then
  marks='slow or not slow'
fi
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
.venv/bin/ruff check .
.venv/bin/mypy
echo "== tf_keras"
# What XLA has compiled is kept until the process ends, and layers have most of it: they get processes of their own.
TF_USE_LEGACY_KERAS=1 .venv/bin/python -m pytest -m "$marks" -n 2 --ignore=tests/layers
TF_USE_LEGACY_KERAS=1 .venv/bin/python -m pytest -m "$marks" -n 2 tests/layers
echo "== Keras 3"
TF_USE_LEGACY_KERAS=0 .venv/bin/python -m pytest -m "both_keras and ($marks)" -n 2
