"""Signals: the first asks, the second ends."""

import os
import signal
import subprocess
import sys
import threading

from easyssl.training.signals import EXIT_CODE, StopSignals


def test_one_signal_sets_the_request_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    for number in (signal.SIGTERM, signal.SIGINT):
        with StopSignals() as stop:
            assert not stop.requested
            os.kill(os.getpid(), number)
            assert stop.requested
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_the_second_signal_ends_the_process_at_once():
    program = (
        "import os, signal, time\n"
        "from easyssl.training.signals import StopSignals\n"
        "with StopSignals():\n"
        "    for _ in range(2): os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert done.returncode == EXIT_CODE


def test_it_does_nothing_outside_the_main_thread():
    seen = []

    def run():
        with StopSignals() as stop:
            seen.append(stop.requested)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]
