"""Several devices give the result of one. Two logical processors, in processes of their own."""

import subprocess
import sys

import pytest

COMMON = """
import contextlib, keras, numpy as np, tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import kserket as srk
from kserket import gmm, vae

x, labels = srk.datasets.load_digits()
x, new = x[:201], x[300:320]  # the last batch of 50 holds one row: one device has none
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def make(scope=contextlib.nullcontext, **options):
    with scope():
        obs = srk.Observation(x)
        vae1 = vae.VAE(4, itr=8, batch_size=50, KL_param=1 / 16, save_dir=None, **options)
        gmm1 = gmm.GMM(5, save_dir=None)
        vae1.connect(obs)
        gmm1.connect(vae1)
        return srk.Graph(gmm1, seed=0)

def devices(graph):
    return graph["vae"].model.distribute_strategy.num_replicas_in_sync

def same(a, b, rtol=1e-4):
    for name in a.history.history:
        assert_allclose(a.history.history[name], b.history.history[name], rtol=rtol, err_msg=name)
    for name in ("vae", "gmm"):
        assert_allclose(a.predict(new, name), b.predict(new, name), rtol=rtol, atol=rtol)
"""

ROUNDS = """
graphs = make(), make(two.scope)
for graph in graphs:
    graph.fit(rounds=2, verbose=0)
assert [devices(graph) for graph in graphs] == [1, 2]
same(*graphs)
for name, value in graphs[0].evaluate(x).items():
    assert_allclose(graphs[1].evaluate(x)[name], value, rtol=1e-4)
with two.scope():  # fit under the scope is the same
    inside = make()
    inside.fit(rounds=2, verbose=0)
assert devices(inside) == 2
same(inside, graphs[1], rtol=1e-6)
"""

FILES = """
graph = make(two.scope)
graph.fit(rounds=1, verbose=0)
graph.save("two.kserket")
alone = srk.load_graph("two.kserket")
with two.scope():
    again = srk.load_graph("two.kserket")
assert (devices(alone), devices(again)) == (1, 2)
for loaded in (alone, again):
    assert_array_equal(loaded.predict(new), graph.predict(new))
for each in (graph, alone, again):
    each.fit(rounds=1, verbose=0)
same(again, graph, rtol=1e-6)
same(alone, graph)

make(two.scope).fit(rounds=1, verbose=0, backup_dir="backup")
resumed = make(two.scope)
resumed.fit(rounds=2, verbose=0, backup_dir="backup")
assert devices(resumed) == 2
same(resumed, graph, rtol=1e-6)
"""

KERAS_LOSS = """
from kserket.core import compiled_loop
target = x.sum(axis=1, keepdims=True)

def train(scope):
    with scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(1e-3), "mse", metrics=["mae"])
    history = compiled_loop.fit(model, (x[:200], target[:200]), batch_size=50, epochs=2, seed=0)
    return model, history.history

(a, logs), (b, others) = train(contextlib.nullcontext), train(two.scope)
for name in logs:
    assert_allclose(logs[name], others[name], rtol=1e-5)
for first, second in zip(a.get_weights(), b.get_weights(), strict=True):
    assert_allclose(first, second, rtol=1e-5, atol=1e-6)
"""

HOSTS = """
import pytest
with tf.distribute.MultiWorkerMirroredStrategy().scope():
    with pytest.raises(ValueError, match="MirroredStrategy or none. Received: "):
        gmm.GMM(3)
"""


def run(script):
    done = subprocess.run([sys.executable, "-c", COMMON + script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("script", [ROUNDS, FILES, KERAS_LOSS], ids=["rounds", "files", "keras"])
def test_two_devices_do_what_one_does(script):
    run(script)


def test_several_hosts_are_refused():
    run(HOSTS)
