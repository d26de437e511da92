"""Processes that die, folders that vanish or are shared, writes that fail: the run goes on."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import keras
import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mm, vae
from kserket.core import files

fcntl = pytest.importorskip("fcntl")
X = srk.datasets.make_mixture(60, 2, 3, seed=0).x


def make_graph(save_dir=None, mode="learn", K=2):
    """A VAE under a mixture under a chain."""
    options = {"save_dir": save_dir, "mode": mode}
    vae1 = vae.VAE(2, itr=1, likelihood="gaussian", **options)
    gmm1 = gmm.GMM(K, itr=1, n_init=1, **options)
    mm1 = mm.MarkovModel(itr=1, n_init=1, **options)
    vae1.connect(srk.Observation(X))
    gmm1.connect(vae1)
    mm1.connect(gmm1)
    return srk.Graph(mm1, seed=0)


def state_of(graph):
    """Everything that a round changes; messages, which nobody changes, by their identity."""
    modules = graph.modules[1:]
    return (
        [graph.round, *(module.rounds for module in modules), *(m.seed for m in modules)],
        [id(module.get_forward_msg()) for module in modules],
        [[id(message) for message in m.mailbox.backward.values()] for m in graph.modules],
        [module.fingerprint for module in modules],
        graph.history.history,
        [np.array(weight) for weight in graph.get_weights()],
    )


# Writes that fail --------------------------------------------------------------------------


def test_a_round_in_which_a_write_fails_has_not_been():
    graph, straight = make_graph("run"), make_graph("straight")
    graph.fit(1, verbose=0)
    before = state_of(graph)
    folder = graph["mm"].folder
    shutil.rmtree(folder)
    folder.write_text("a file")
    for _ in range(2):
        with pytest.raises(OSError, match=folder.name):
            graph.fit(1, verbose=0)
        for now, then in zip(state_of(graph), before, strict=True):
            np.testing.assert_equal(now, then)
    folder.unlink()
    graph.fit(1, verbose=0)
    straight.fit(2, verbose=0)
    np.testing.assert_equal(graph.history.history, straight.history.history)


def test_a_first_round_that_fails_leaves_modules_without_models():
    pathlib.Path("run").write_text("a file")
    graph = make_graph("run")
    with pytest.raises(OSError, match="run"):
        graph.fit(1, verbose=0)
    assert [module.model for module in graph.modules] == [None] * 4
    assert all(module.get_forward_msg() is None for module in graph.modules[1:])


@pytest.mark.parametrize(
    "path, said",
    [
        ("nowhere/deep/g.kserket", "There is no folder nowhere/deep.*makedirs"),
        (".", "is a folder. Name a file in it"),
    ],
)
def test_a_path_that_cannot_be_written_to_is_named(path, said):
    graph = make_graph()
    with pytest.raises(OSError, match=said) as error:
        graph.save(path)
    assert "tmp" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: setattr(graph["mm"], "lengths", [5, 5]),
        lambda graph: setattr(graph["mm"], "itr", None),
        lambda graph: setattr(graph["mm"], "labels", [0, 1]),
        lambda graph: setattr(graph["gmm"], "itr", -1),
    ],
)
def test_what_is_wrong_above_is_told_before_anything_learns(change):
    graph = make_graph()
    change(graph)
    with pytest.raises(ValueError):
        graph.fit(1, verbose=0)
    assert graph["vae"].model is None and graph["vae"].rounds == 0


# What the dead left, and the living hold ---------------------------------------------------


def test_left_overs_of_the_dead_go_and_those_of_the_living_stay():
    graph = make_graph()
    dead = pathlib.Path(".g.kserket.0123abcd.tmp")
    living = pathlib.Path(".g.kserket.4567cdef.tmp")
    os.makedirs(f".g.kserket.{os.getpid()}.tmp")
    dead.touch()
    with open(living, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        graph.save("g.kserket")
        assert living.exists() and not dead.exists()
    graph.save("g.kserket")
    assert os.listdir() == ["g.kserket"]
    srk.load_graph("g.kserket")


def test_threads_may_save_one_file():
    graph = make_graph()
    errors = []

    def save():
        try:
            for _ in range(5):
                graph.save("g.kserket")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=save) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert os.listdir() == ["g.kserket"]
    srk.load_graph("g.kserket")


def test_running_out_of_handles_once_is_not_for_ever():
    import resource

    graph = make_graph()
    graph.save("g.kserket")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError):
            graph.save("g.kserket")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    graph.save("g.kserket")
    assert os.listdir() == ["g.kserket"]


# Backups -----------------------------------------------------------------------------------


def test_a_backup_folder_belongs_to_one_run():
    graph = make_graph()
    with files.holding("run"):
        with pytest.raises(RuntimeError, match=f"run is in use by process {os.getpid()} on"):
            graph.fit(1, verbose=0, backup_dir="run")
        assert graph["vae"].model is None
    graph.fit(1, verbose=0, backup_dir="run")
    assert os.listdir("run") == ["from0000_round0001.kserket"]


def test_the_folder_of_a_process_that_was_killed_is_free():
    code = """
        import os, signal
        from kserket.core import files
        with files.holding("run"):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(code)])
    assert child.returncode == -signal.SIGKILL and os.listdir("run") == [".lock"]
    with files.holding("run"):
        pass
    assert os.listdir("run") == []


def test_a_folder_that_cannot_be_written_to_is_noticed_first():
    pathlib.Path("file").touch()
    graph = make_graph()
    with pytest.raises(OSError, match="file/run"):
        graph.fit(1, verbose=0, backup_dir="file/run")
    assert graph["vae"].model is None


def test_a_folder_that_is_removed_is_made_again():
    remove = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs=None: shutil.rmtree("run")
    )
    graph = make_graph()
    graph.fit(2, verbose=0, backup_dir="run", callbacks=[remove])
    assert os.listdir("run") == ["from0000_round0002.kserket"]


# Killed between modules --------------------------------------------------------------------

PROGRAM = """
    import pathlib, sys, time
    sys.path.insert(0, {here!r})
    import test_kills
    from kserket.core import result_folder

    write, stop = result_folder.write, sys.argv[1]

    def stall(module, *what):
        if module.name == stop and module.rounds == 2:
            pathlib.Path("stalled").touch()
            time.sleep(600)
        write(module, *what)

    result_folder.write = stall
    graph = test_kills.make_graph("run")
    for module in graph.modules[1:]:
        module.text_limit = 0
    pathlib.Path("begun").touch()
    graph.fit(10_000, verbose=0)
"""


def kill(stop, marker, wait=0.0):
    """Runs the program, and kills it some time after it has made a file."""
    code = textwrap.dedent(PROGRAM).format(here=str(pathlib.Path(__file__).parent))
    child = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, stop])
    try:
        for _ in range(3000):
            assert child.poll() is None, "the program ended before it was killed"
            if os.path.exists(marker):
                break
            time.sleep(0.05)
        time.sleep(wait)
    finally:
        child.kill()
        child.wait()


def recognize():
    graph = make_graph("run", mode="recog")
    graph.fit(1, verbose=0)
    assert np.isfinite(graph["mm"].posterior).all()


@pytest.mark.parametrize("stop", ["mm", pytest.param("gmm", marks=pytest.mark.fuzz)])
def test_the_last_round_that_was_finished_can_be_recognized_with(stop):
    kill(stop, "stalled")
    recognize()


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_any_time_a_round_can_be_recognized_with(seed):
    kill("nothing", "run/module003_mm/parameters.h5", np.random.default_rng(seed).uniform(0, 3))
    recognize()
