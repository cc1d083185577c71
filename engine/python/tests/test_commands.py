"""The commands that the wheel brings."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import VECTORS

import engram_tables


def run(command, *arguments, **options):
    command = Path(sys.executable).with_name(command)
    return subprocess.run([command, *arguments], capture_output=True, text=True, **options)


@pytest.mark.parametrize("command", ["engram-pack", "engram-bench"])
def test_commands_are_installed(command):
    assert run(command, "--version").stdout == f"{command} {engram_tables.__version__}\n"
    assert run(command, "--help").returncode == 0
    assert run(command, "no-such-thing").returncode == 2


def test_exit_codes_are_those_of_the_command(tmp_path):
    assert run("engram-pack", "verify", VECTORS / "deepseek").returncode == 0
    failed = run("engram-pack", "verify", tmp_path)
    assert failed.returncode == 1 and failed.stderr


def test_output_is_whole_and_binary_safe():
    row = run("engram-pack", "rows", VECTORS / "deepseek", "--tokens", "0,3,15", "--json")
    assert row.returncode == 0 and row.stdout.endswith("\n")


def test_ctrl_c_ends_a_command(tmp_path):
    """Also in the middle of a call that Python knows nothing of."""
    pipe = tmp_path / "tokenizer.json"
    os.mkfifo(pipe)
    command = Path(sys.executable).with_name("engram-pack")
    arguments = ["profile", "--scheme", "deepseek-v4.1-flash", "--tokenizer", pipe, "--text", pipe, "-o", tmp_path / "out"]
    with subprocess.Popen([command, *arguments]) as process:
        # Opened as soon as the command reads from it, which gets nothing.
        with pipe.open("w"):
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == -signal.SIGINT
