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
x = x[:201]  # the last batch of 50 holds one row: one device has none
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
above = np.random.default_rng(0).normal(size=(len(x), 4))  # what a module above would send

def make(scope=contextlib.nullcontext, batch_size=50):
    srk.Module.reset_names()
    with scope():
        obs = srk.Observation(x)
        vae1 = vae.VAE(4, itr=1, batch_size=batch_size, KL_param=1 / 16, save_dir=None)
        vae1.connect(obs)
        return srk.Graph(vae1, seed=0)

def devices(graph):
    return graph["vae"].model.distribute_strategy.num_replicas_in_sync

def learn(graph):
    graph.fit(rounds=1, verbose=0)
    graph["vae"].set_backward_msg(above)
    return graph

def same(a, b):
    # Ten steps of float32 from equal weights: 5e-7 apart where measured. More steps, or a mixture
    # on top, would amplify the rounding.
    for name in ("vae/loss", "vae/kl", "vae/reconstruction"):
        figures = a.history.history[name], b.history.history[name]
        assert_allclose(*figures, rtol=2e-5, err_msg=name)
    assert_allclose(sent(a), sent(b), atol=2e-5)

def sent(graph):
    return np.asarray(graph["vae"].get_forward_msg())
"""

ROUNDS = """
graphs = make(), make(two.scope)
for graph in graphs:
    learn(learn(graph))
assert [devices(graph) for graph in graphs] == [1, 2]
same(*graphs)
for name, value in graphs[0].evaluate(x).items():
    assert_allclose(graphs[1].evaluate(x)[name], value, rtol=2e-5)
other = learn(learn(make(batch_size=49)))  # `same` would see one sample in another batch
assert np.abs(sent(other) - sent(graphs[0])).max() > 1e-3

with two.scope():  # fit under the scope is the same
    inside = learn(learn(make()))
assert devices(inside) == 2
same(inside, graphs[1])

with two.scope():  # and a mixture on top learns on
    vae1, gmm1 = vae.VAE(4, itr=1, save_dir=None), gmm.GMM(5, save_dir=None)
    vae1.connect(srk.Observation(x))
    gmm1.connect(vae1)
    tower = srk.Graph(gmm1, seed=0)
tower.fit(rounds=2, verbose=0)
assert np.isfinite(tower.predict(x)).all()
"""

FILES = """
graph = learn(make(two.scope))
graph.save("two.kserket")
alone = srk.load_graph("two.kserket")
with two.scope():
    again = srk.load_graph("two.kserket")
assert (devices(alone), devices(again)) == (1, 2)
for loaded in (alone, again):
    for weight, saved in zip(loaded.get_weights(), graph.get_weights(), strict=True):
        assert_array_equal(weight, saved)
for each in (graph, alone, again):
    learn(each)
same(again, graph)
same(alone, graph)

def run(rounds):
    made = make(two.scope)
    made.fit(rounds, verbose=0, backup_dir="backup")
    return made

run(1)
resumed, whole = run(2), make(two.scope)
whole.fit(2, verbose=0)
assert devices(resumed) == 2
same(resumed, whole)
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
strategy = tf.distribute.MultiWorkerMirroredStrategy()  # of one host: no TF_CONFIG names others
with strategy.scope():
    gmm1 = gmm.GMM(3, save_dir=None)
assert gmm1.host_group.size == 1
"""


def run(script):
    done = subprocess.run([sys.executable, "-c", COMMON + script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("script", [ROUNDS, FILES, KERAS_LOSS], ids=["rounds", "files", "keras"])
def test_two_devices_do_what_one_does(script):
    run(script)


def test_a_strategy_of_one_host_is_as_good_as_none():
    run(HOSTS)
