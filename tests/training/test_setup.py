"""What a run sets for its whole process."""

import subprocess
import sys

from easyssl.config import parse_config
from easyssl.training.setup import make_deterministic

THREADS = "train_config { inter_op_parallelism_threads: 3 intra_op_parallelism_threads: 5 }"


def test_threads_are_set_before_the_first_operation():
    program = f"""
import tensorflow as tf
from easyssl.config import parse_config
from easyssl.training.setup import make_deterministic
make_deterministic(parse_config("{THREADS}"), print)
threads = tf.config.threading
print(threads.get_inter_op_parallelism_threads(), threads.get_intra_op_parallelism_threads())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "3 5\n"


def test_it_is_told_when_it_is_too_late_for_threads():
    import tensorflow as tf

    assert float(tf.constant(1.0) + 1) == 2
    lines = []
    make_deterministic(parse_config(THREADS + "train_config { deterministic: false }"), lines.append)
    names = [f"train_config.{kind}_op_parallelism_threads" for kind in ("inter", "intra")]
    assert lines == [f"{name} has no effect: TensorFlow runs in this process already" for name in names]
