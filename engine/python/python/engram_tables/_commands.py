"""The commands ``engram-pack`` and ``engram-bench``."""

import signal
import sys

from . import _native


def pack():
    _run(_native.run_pack)


def bench():
    _run(_native.run_bench)


def _run(command):
    # The command is one call, during which no handler of Python's would run.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(command(sys.argv))
