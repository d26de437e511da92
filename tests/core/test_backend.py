import os
import subprocess
import sys

from kserket.core import backend

RUN = """
import kserket
x, _ = kserket.datasets.load_digits()
obs = kserket.Observation(x[:60])
vae1 = kserket.vae.VAE(2, itr=30, batch_size=60, KL_param=0.1, save_dir="results")
gmm1 = kserket.gmm.GMM(3, n_init=1, save_dir="results")
vae1.connect(obs)
gmm1.connect(vae1)
graph = kserket.Graph(gmm1, seed=0)
graph.fit(2, verbose=0, backup_dir="backup")
graph.save("g.kserket")
graph = kserket.load_graph("g.kserket")
graph.predict(x[60:70])
graph.export("served")
"""


def run_import(script="import kserket", **environment):
    """A script in a process whose environment has these variables, None for unset."""
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": None, **environment}
    variables = {name: value for name, value in variables.items() if value is not None}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, env=variables)


def test_import_prints_nothing():
    run = run_import()
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_plain_run_prints_nothing():
    run = run_import(RUN)
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
