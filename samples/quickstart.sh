#!/bin/sh
# The main job on generated data: set up, generate, train, evaluate, predict, export. Prints each command it runs.
# ROWS says how many rows to train on: `ROWS=50000 sh samples/quickstart.sh` is the size that the sample is made for.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
rows=${ROWS:-10000}
run() {
  echo "+ $*"
  "$@"
}
[ -x .venv/bin/python ] || run "$python" -m venv .venv
run .venv/bin/pip install --quiet --disable-pip-version-check .
easyssl=.venv/bin/easyssl
config=samples/cl4srec_on_taobao.config
run $easyssl data generate taobao --out samples/data/taobao --rows "$rows"
run $easyssl check $config
run $easyssl train $config
run $easyssl evaluate $config
run $easyssl predict $config --input samples/data/taobao/test.csv --output experiments/cl4srec_on_taobao/predictions.csv
run $easyssl export $config
