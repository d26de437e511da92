"""Two hosts, which are processes that talk over loopback, learn what one learns."""

import errno
import json
import os
import pathlib
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, vae

CUTS = [0, 150, 401]
X, LABELS = (part[: CUTS[-1]] for part in srk.datasets.load_digits())


def make(rows, path=None, batch_size=50, **options):
    """The graph of one host, whose rows lie in an array or a file."""
    srk.Module.reset_names()
    obs = srk.Observation(X[rows] if path is None else path)
    vae1 = vae.VAE(4, itr=2, batch_size=batch_size, KL_param=1 / 16, save_dir="out")
    gmm1 = gmm.GMM(5, itr=5, n_init=2, category=LABELS[rows], save_dir="out", **options)
    vae1.connect(obs)
    gmm1.connect(vae1)
    return srk.Graph(gmm1, seed=0)


def result(graph):
    """What is compared: weights, figures and messages."""
    history = graph.history.history
    messages = [np.asarray(module.get_forward_msg()) for module in graph.modules[1:]]
    return [*graph.get_weights(), *messages, *(np.array(history[name]) for name in sorted(history))]


PROGRAM = """
    import os, sys
    sys.path.insert(0, {here!r})
    import numpy as np
    import kserket as srk

    strategy = srk.multi_worker_strategy(timeout=500)
    import test_several_hosts as test

    index = strategy.cluster_resolver.task_id
    cuts = test.CUTS
    own = slice(cuts[index], cuts[index + 1])
    os.makedirs(f"host{{index}}", exist_ok=True)
    backup = os.path.abspath("backup")

    def refused(graph, words):
        try:
            graph.fit(1, verbose=0)
        except ValueError as error:
            assert words in str(error), error
        else:
            raise AssertionError("it was not refused")
"""

LEARN = """
    os.chdir(f"host{index}")
    with strategy.scope():
        refused(test.make(own, weight_concentration=index + 1.0), "weight_concentration is 1.0 on")
        refused(test.make(slice(0, 150)), "hold the same rows")
        shared = srk.Observation(test.X)
        rows = shared.shard()
        assert rows == [slice(0, 200), slice(200, 401)][index]
        assert np.array_equal(shared.data, test.X[rows])
        np.save("own.npy", test.X[own])  # the file of this host
        graph = test.make(own, "own.npy")
    graph.fit(1, verbose=2)
    np.savez("first.npz", *test.result(graph))
    graph.fit(2, verbose=0)
    np.savez("whole.npz", *test.result(graph))
    figures = graph.evaluate(test.X[:40])  # each host for itself
    if index == 0:
        figures |= graph.evaluate(test.X[:40])
    graph.save("digits.kserket", include_data=False)
    print(sorted(figures), os.path.exists("out"), os.path.exists("digits.kserket"))
"""

DIE = """
    import keras
    class Die(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if index == 1 and graph.round == 1:
                os._exit(9)

    with strategy.scope():
        graph = test.make(own)
    os.chdir(f"host{index}")
    try:
        graph.fit(3, verbose=0, backup_dir=backup, module_callbacks={"vae": [Die()]})
    except RuntimeError as error:
        print("LOST:", error, flush=True)
        os._exit(3)
"""

GO_ON = """
    with strategy.scope():
        graph = test.make(own)
    os.chdir(f"host{index}")
    graph.fit(3, verbose=0, backup_dir=backup)
    np.savez("again.npz", *test.result(graph))
"""


def free_ports(number):
    """Ports that nobody listens at now."""
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def on_two_hosts(script):
    """Runs a script in two processes; their exit codes and outputs."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    here = str(pathlib.Path(__file__).parent)
    code = textwrap.dedent(PROGRAM).format(here=here) + textwrap.dedent(script)
    children = []
    for index in range(2):
        config = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
        environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
        children.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        outputs = [child.communicate(timeout=900) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    return [(child.returncode, *output) for child, output in zip(children, outputs, strict=True)]


def arrays(path):
    with np.load(path) as file:
        return [file[name] for name in file.files]


@pytest.mark.slow
def test_two_hosts_learn_what_one_learns_and_go_on_when_one_is_lost():
    for code, _, error in (outcomes := on_two_hosts(LEARN)):
        assert code == 0, error[-3000:]
    assert "Round 1/1" in outcomes[0][1] and "Round 1/1" not in outcomes[1][1]
    assert "Host 1 of 2 learns along" in outcomes[1][1]
    ends = [output.splitlines()[-1] for _, output, _ in outcomes]
    assert [end.partition("]")[2].split() for end in ends] == [["True", "True"], ["False", "False"]]

    one = make(slice(None))  # with all rows
    one.fit(1, verbose=0)
    expected, found = result(one), [arrays(f"host{index}/first.npz") for index in range(2)]
    num_weights = len(one.get_weights())
    for index, parts in enumerate(found):
        own = slice(CUTS[index], CUTS[index + 1])
        latents, whole = parts[num_weights], expected[num_weights]
        assert_allclose(latents, whole[own], atol=2e-5)  # float32 after 18 steps
    for place, (mine, theirs) in enumerate(zip(*found, strict=True)):
        if place not in (num_weights, num_weights + 1):  # messages, which have rows of their own
            assert_array_equal(mine, theirs)
    names = sorted(one.history.history)
    for name, values in zip(names, found[0][-len(names) :], strict=True):
        if name.startswith("vae/") and name != "vae/message_change":
            assert_allclose(values, one.history.history[name], rtol=2e-5, err_msg=name)

    codes = on_two_hosts(DIE)
    assert (codes[1][0], codes[0][0]) == (9, 3), codes[0][2][-3000:]
    assert "cannot go on: another one has ended" in codes[0][1]
    assert len(list(pathlib.Path("backup").glob("from0000_round0001_host*of2.kserket"))) == 2
    for code, _, error in on_two_hosts(GO_ON):
        assert code == 0, error[-3000:]
    for index in range(2):
        again, whole = (arrays(f"host{index}/{name}.npz") for name in ("again", "whole"))
        for mine, theirs in zip(again, whole, strict=True):
            assert_array_equal(mine, theirs)

    with pytest.raises(ValueError, match="run on 2 host"):
        make(slice(None)).fit(3, verbose=0, backup_dir="backup")


# Errors before hosts are connected ----------------------------------------------------------


def config(port, **task):
    cluster = {"worker": [f"127.0.0.1:{port}", "127.0.0.1:1"]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0, **task}})


def test_one_host_needs_no_hosts(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with srk.multi_worker_strategy().scope():
        assert gmm.GMM(2, save_dir=None).strategy is None
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["127.0.0.1:1"]}}')
    with srk.multi_worker_strategy().scope():
        assert gmm.GMM(2, save_dir=None).strategy is None


def test_hosts_that_come_too_late_are_an_error(monkeypatch):
    np.asarray(vae.VariationalAutoencoder(1).kl_weight)  # TensorFlow has started
    monkeypatch.setenv("TF_CONFIG", config(free_ports(1)[0]))
    with pytest.raises(RuntimeError, match="cannot be connected any more. TF_CONFIG and"):
        srk.multi_worker_strategy()


def test_a_port_that_is_taken_is_an_error(monkeypatch):
    monkeypatch.setattr("kserket.core.host_group._has_started", lambda: False)
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("TF_CONFIG", config(port))
        with pytest.raises(OSError, match=f"Port {port} of this host") as caught:
            srk.multi_worker_strategy()
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "must be JSON"),
        ("[]", "must be a JSON object"),
        (config(1, index=2), 'needs "task"'),
        (config(1, index="0"), 'needs "task"'),
        (config(1, type="ps"), 'needs "task"'),
        (config("x"), "addresses with a port"),
    ],
)
def test_a_wrong_configuration_is_named(text, words, monkeypatch):
    monkeypatch.setattr("kserket.core.host_group._has_started", lambda: False)
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=words):
        srk.multi_worker_strategy()
