import os
import subprocess
import sys

from kserket.core import backend


def run_import(**environment):
    """`import kserket` in a process whose environment has these variables, None for unset."""
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": None, **environment}
    variables = {name: value for name, value in variables.items() if value is not None}
    command = [sys.executable, "-c", "import kserket"]
    return subprocess.run(command, capture_output=True, text=True, env=variables)


def test_import_prints_nothing():
    run = run_import()
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_another_keras_backend_is_refused():
    run = run_import(KERAS_BACKEND="jax")
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: kserket needs Keras with the TensorFlow backend")
    assert "KERAS_BACKEND=tensorflow" in last


def test_only_chatter_is_kept_back(capfd):
    with backend._without_chatter():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are ...\n")
        os.write(2, b"I0000 00:00:1700000000.000000    4711 stub.cc:31] Could not find drivers\n")
        os.write(2, b"E0000 00:00:1700000000.000000    4711 stub.cc:99] Something broke\n")
        os.write(2, b"UserWarning: look here\n")
    assert capfd.readouterr().err == (
        "E0000 00:00:1700000000.000000    4711 stub.cc:99] Something broke\n"
        "UserWarning: look here\n"
    )
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "later\n"
