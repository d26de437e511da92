"""Two hosts, which are processes that talk over loopback, learn what one learns."""

import contextlib
import errno
import json
import os
import pathlib
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, hosts, vae
from kserket.core.host_meeting import meet

CUTS = [0, 150, 401]
X, LABELS = (part[: CUTS[-1]] for part in srk.datasets.load_digits())
POINTS, *_ = srk.datasets.make_mixture(CUTS[-1], 3, 5, seed=0)


def make(rows, path=None, batch_size=50, **options):
    """The graph of one host, whose rows lie in an array or a file."""
    srk.Module.reset_names()
    obs = srk.Observation(X[rows] if path is None else path)
    options = {"category": LABELS[rows], "save_dir": "out", **options}
    vae1 = vae.VAE(
        4, itr=2, batch_size=batch_size, KL_param=1 / 16, learning_rate=0.03, save_dir="out"
    )
    gmm1 = gmm.GMM(5, itr=5, n_init=2, **options)
    vae1.connect(obs)
    gmm1.connect(vae1)
    return srk.Graph(gmm1, seed=0)


def mixture(rows):
    """A graph without a network."""
    srk.Module.reset_names()
    gmm1 = gmm.GMM(5, itr=5, n_init=2, save_dir=None)
    gmm1.connect(srk.Observation(POINTS[rows]))
    return srk.Graph(gmm1, seed=0)


def result(graph):
    """What is compared: weights, figures and messages."""
    history = graph.history.history
    messages = [np.asarray(module.get_forward_msg()) for module in graph.modules[1:]]
    return [*graph.get_weights(), *messages, *(np.array(history[name]) for name in sorted(history))]


# What each process begins with; it imports this file for what is above.
PROGRAM = """
    import os, sys
    sys.path.insert(0, {here!r})
    import keras
    import numpy as np
    import tensorflow as tf
    import kserket as srk

    def ready(**options):
        # Connects the hosts, and goes to a folder of this one.
        global test, strategy, index, own
        strategy = srk.multi_worker_strategy(**options)
        import test_several_hosts as test
        index = strategy.cluster_resolver.task_id
        own = slice(*test.CUTS[index : index + 2])
        os.makedirs(f"host{{index}}", exist_ok=True)
        os.chdir(f"host{{index}}")

    def make(*args, **options):
        with strategy.scope():
            return test.make(*args, **options)

    def refused(graph, words):
        try:
            graph.fit(1, verbose=0)
        except ValueError as error:
            assert words in str(error), error
        else:
            raise AssertionError("it was not refused")

    def until_lost(fit, *args, **options):
        try:
            fit(*args, verbose=0, **options)
        except RuntimeError as error:
            print("LOST:", error, flush=True)
            os._exit(3)
"""

LEARN_THEN_LOSE_THE_SECOND = """
    ready(timeout=500)
    from kserket.core.saving import graph_file
    refused(make(own, weight_concentration=index + 1.0), "weight_concentration is 1.0 on host 0")
    refused(make(own, category=[None, test.LABELS[own]][index]), "has labels is False on host 0")
    refused(make(slice(0, 150)), "hold the same rows")
    version, graph_file.__version__ = graph_file.__version__, f"9.{index}"
    refused(make(own), "versions/kserket is '9.0' on host 0, but '9.1' on host 1")
    graph_file.__version__ = version
    with strategy.scope():
        points, shared = test.mixture(own), srk.Observation(test.X)
    rows = shared.shard()
    assert rows == [slice(0, 200), slice(200, 401)][index]
    assert np.array_equal(shared.data, test.X[rows])
    np.save("own.npy", test.X[own])  # the file of this host
    graph = make(own, "own.npy")
    points.fit(2, verbose=0)
    np.savez("points.npz", *test.result(points))
    graph.fit(1, verbose=2)
    np.savez("first.npz", *test.result(graph))
    graph.fit(2, verbose=0)
    np.savez("whole.npz", *test.result(graph))
    figures = graph.evaluate(test.X[:40])  # each host for itself
    if index == 0:
        figures |= graph.evaluate(test.X[:40])
    graph.save("digits.kserket", include_data=False)
    print(sorted(figures), os.path.exists("out"), os.path.exists("digits.kserket"))

    class Die(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if index == 1 and graph.round == 1:
                os._exit(9)

    graph = make(own)
    until_lost(graph.fit, 3, backup_dir="../backup", module_callbacks={"vae": [Die()]})
"""

GO_ON_THEN_LOSE_THE_FIRST = """
    ready(timeout=500)
    graph = make(own)
    graph.fit(3, verbose=0, backup_dir="../backup")
    np.savez("again.npz", *test.result(graph))

    replace = os.replace

    def die(source, target):  # before the file of the second round is at its place
        if index == 0 and "round0002" in str(target):
            os._exit(9)
        replace(source, target)

    os.replace = die
    until_lost(make(own).fit, 3, backup_dir="../chief")
"""

GO_ON = """
    ready(timeout=500)
    graph = make(own)
    graph.fit(3, verbose=0, backup_dir="../chief")
    np.savez("once_more.npz", *test.result(graph))
"""

# TensorFlow takes one processor of each host; two stand for two GPUs here.
TWO_DEVICES = """
    from tensorflow.python.distribute import collective_all_reduce_strategy as strategies

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategies.CollectiveAllReduceExtended._initialize_local_devices = lambda _, resolver, host: (
        tuple(f"{host}/device:CPU:{number}" for number in range(2)), "CPU"
    )
    ready(timeout=500)
    assert strategy.num_replicas_in_sync == 4
    with strategy.scope():
        points = test.mixture(own)
    points.fit(2, verbose=0)
    np.savez("points.npz", *test.result(points))
    graph = make(own)
    graph.fit(1, verbose=0)
    np.savez("first.npz", *test.result(graph))
"""


def start(script, configs):
    """Runs a script in processes of their own; exit code, output and errors of each."""
    here = str(pathlib.Path(__file__).parent)
    code = textwrap.dedent(PROGRAM).format(here=here) + textwrap.dedent(script)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "TF_CONFIG": config},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for config in configs
    ]
    try:
        outputs = [child.communicate(timeout=900) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    return [(child.returncode, *output) for child, output in zip(children, outputs, strict=True)]


def on_two_hosts(script, codes=(0, 0)):
    """What two hosts print that run a script and end with these codes."""
    outcomes = start(script, hosts.local_configs(2))
    assert tuple(code for code, *_ in outcomes) == codes, [error[-2000:] for *_, error in outcomes]
    return [output for _, output, _ in outcomes]


def saved(name):
    """The arrays of a file of both hosts."""
    for index in range(2):
        with np.load(f"host{index}/{name}.npz") as file:
            yield [file[key] for key in file.files]


def assert_that_of_one_host():
    """Two hosts have learned what one learns from all rows."""
    points = mixture(slice(None))
    points.fit(2, verbose=0)
    num_weights = len(points.get_weights())
    for index, parts in enumerate(saved("points")):
        for place, (mine, whole) in enumerate(zip(parts, result(points), strict=True)):
            if place == num_weights:  # a message, which has rows
                whole = whole[slice(*CUTS[index : index + 2])]
            assert_allclose(mine, whole, rtol=1e-9, atol=1e-9)

    one = make(slice(None))
    one.fit(1, verbose=0)
    expected, found = result(one), list(saved("first"))
    assert one.history.history["gmm/live_classes"] == [5]
    num_weights = len(one.get_weights())
    for index, parts in enumerate(found):
        latents, whole = parts[num_weights], expected[num_weights]
        assert_allclose(latents, whole[slice(*CUTS[index : index + 2])], atol=1e-4)  # float32
    for place, (mine, theirs) in enumerate(zip(*found, strict=True)):
        if place not in (num_weights, num_weights + 1):  # messages, which have rows of their own
            assert_array_equal(mine, theirs)
    names = sorted(one.history.history)
    for name, values in zip(names, found[0][-len(names) :], strict=True):
        if name.startswith("vae/") and name != "vae/message_change":
            assert_allclose(values, one.history.history[name], rtol=2e-5, err_msg=name)


def assert_same(name):
    """What both hosts arrived at in the end is that of the run that nothing happened to."""
    for again, whole in zip(saved(name), saved("whole"), strict=True):
        for mine, theirs in zip(again, whole, strict=True):
            assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_two_hosts_learn_what_one_learns_and_go_on_when_one_is_lost():
    outputs = on_two_hosts(LEARN_THEN_LOSE_THE_SECOND, codes=(3, 9))
    assert "Round 1/1" in outputs[0] and "Round 1/1" not in outputs[1]
    assert "Host 1 of 2 learns along" in outputs[1]
    ends = [line.partition("]")[2] for output in outputs for line in output.splitlines()]
    assert [end.split() for end in ends if end] == [["True", "True"], ["False", "False"]]
    assert "Host 0 of 2 cannot go on: another one has ended" in outputs[0]
    assert_that_of_one_host()

    assert kept("backup") == ["from0000_round0001_host0of2", "from0000_round0001_host1of2"]
    outputs = on_two_hosts(GO_ON_THEN_LOSE_THE_FIRST, codes=(9, 3))
    assert "Host 1 of 2 cannot go on: another one has ended" in outputs[1]
    assert_same("again")

    assert kept("chief") == [
        *("from0000_round0001_host0of2", "from0000_round0001_host1of2"),
        "from0000_round0002_host1of2",  # host 0 has none, so all go on from the first round
    ]
    on_two_hosts(GO_ON)
    assert_same("once_more")
    assert not [path.name for path in pathlib.Path("chief").iterdir() if path.name.endswith(".tmp")]

    alone = make(slice(None))  # one host goes on where two ended
    alone.fit(3, verbose=0, backup_dir="chief")
    first, second = saved("whole")
    num_weights = len(alone.get_weights())
    for place, (mine, *theirs) in enumerate(zip(result(alone), first, second, strict=True)):
        if num_weights <= place < num_weights + 2:  # messages, whose rows are normalized again
            assert_allclose(mine, np.concatenate(theirs), rtol=1e-12)
        else:
            assert_array_equal(mine, theirs[0])
    alone = make(slice(None))
    alone.fit(4, verbose=0, backup_dir="chief")
    assert alone.round == 4 and kept("chief") == ["from0000_round0004"]


def kept(folder):
    """The rounds that a folder keeps."""
    return sorted(path.stem for path in pathlib.Path(folder).glob("*.kserket"))


@pytest.mark.slow
def test_two_devices_of_two_hosts_learn_what_one_learns():
    on_two_hosts(TWO_DEVICES)
    assert_that_of_one_host()


# Errors before hosts are connected ----------------------------------------------------------

TOO_LATE = """
    config = os.environ.pop("TF_CONFIG")
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    os.environ["TF_CONFIG"] = config
    with strategy.scope():
        srk.Observation([[0.0]])
"""


@pytest.mark.slow
def test_a_configuration_that_is_set_after_the_strategy_is_an_error():
    ((code, _, error),) = start(TOO_LATE, hosts.local_configs(3)[2:])
    assert code == 1
    assert "ValueError: TF_CONFIG names 3 hosts, but the strategy was made for 1" in error


def meet_in_threads(*arguments, delays=(0.0, 0.0, 0.0)):
    """The error, or None, of each of several hosts that wait for each other."""

    def run(each, delay):
        time.sleep(delay)
        try:
            return meet(*each)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(run, arguments, delays))


def addresses_of(number):
    return json.loads(hosts.local_configs(number)[0])["cluster"]["worker"]


@pytest.mark.parametrize("delays", [(0.0, 0.0, 0.0), (0.5, 0.0, 0.1)])
def test_hosts_that_start_one_after_another_meet(delays):
    addresses = addresses_of(3)
    errors = meet_in_threads(*((addresses, index, 60) for index in range(3)), delays=delays)
    assert errors == [None] * 3
    for address in addresses:  # their ports are free again
        socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))).close()


def test_hosts_that_do_not_come_are_named():
    addresses = addresses_of(3)
    with socket.create_server(("127.0.0.1", 0)) as stranger:  # listens, and never answers
        addresses[2] = f"127.0.0.1:{stranger.getsockname()[1]}"
        first, second = meet_in_threads(*((addresses, index, 1.0) for index in range(2)))
    assert str(first).startswith(
        f"3 hosts were to start within 1 s. Host 0 waited for {addresses[2]} in vain."
    )
    assert f"Host 1 waited for {addresses[0]} in vain." in str(second)
    assert isinstance(first, RuntimeError) and isinstance(second, RuntimeError)


def test_a_host_that_starts_again_meets_the_others():
    addresses = addresses_of(2)
    name, port = addresses[0].split(":")

    def come_and_go():
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                with socket.create_connection((name, int(port))) as once:
                    once.sendall(b"kserket 3 1\n")
                    return

    addresses.append(addresses_of(1)[0])
    with ThreadPoolExecutor(1) as pool:
        pool.submit(come_and_go)
        given = [(addresses, index, 60) for index in range(3)]
        assert meet_in_threads(*given, delays=(0.0, 0.3, 0.5)) == [None] * 3


def test_hosts_that_disagree_about_the_cluster_are_an_error():
    addresses = addresses_of(3)
    other = [*addresses[:1], addresses_of(1)[0], addresses[2]]
    first, second, third = meet_in_threads(
        (addresses, 0, 1.0), (addresses, 1, 1.0), (other, 1, 1.0), delays=(0.0, 0.0, 0.3)
    )
    assert isinstance(first, RuntimeError) and isinstance(second, RuntimeError)
    assert isinstance(third, ValueError)
    assert "each its own index: two hosts say that they are host 1." in str(third)
    addresses = addresses_of(3)
    _, second = meet_in_threads((addresses, 0, 1.0), (addresses[:2], 1, 1.0))
    assert "host 0 knows of 3 hosts, and host 1 of 2." in str(second)


def test_a_host_waits_no_longer_than_it_was_told(monkeypatch):
    monkeypatch.setattr("kserket.core.host_group._has_started", lambda: False)
    for configuration in hosts.local_configs(2):
        monkeypatch.setenv("TF_CONFIG", configuration)
        with pytest.raises(RuntimeError, match="2 hosts were to start within 0.5 s"):
            srk.multi_worker_strategy(timeout=0.5)


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
    monkeypatch.setenv("TF_CONFIG", hosts.local_configs(2)[0])
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
