"""A run that dies goes on from its last finished round and ends as if nothing had happened."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import keras
import numpy as np
import pytest

import kserket as srk
from kserket import gmm, vae

X = srk.datasets.load_digits()[0][:150]
POINTS = srk.datasets.make_mixture(90, 3, 2, seed=1).x
ROUNDS = 6


def digits_graph():
    vae1 = vae.VAE(3, itr=2, batch_size=32, KL_param=0.01, save_dir=None)
    gmm1 = gmm.GMM(3, itr=4, inference="gibbs", save_dir=None)
    vae1.connect(srk.Observation(X))
    gmm1.connect(vae1)
    return srk.Graph(gmm1, seed=0)


def mixture_graph(K=3, itr=2, points=POINTS):
    """As a new process would make it."""
    srk.Module.reset_names()
    gmm1 = gmm.GMM(K, itr=itr, inference="gibbs", save_dir=None)
    gmm1.connect(srk.Observation(points))
    return srk.Graph(gmm1, seed=0)


def assert_same(one, other):
    assert one.round == other.round
    assert one.history.history == other.history.history
    assert one.history.epoch == other.history.epoch
    for mine, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


# Killed ------------------------------------------------------------------------------------

CHILD = """
    import pathlib, sys, time
    sys.path.insert(0, {here!r})
    import keras, numpy as np
    import test_resume
    from kserket.core.saving import archive, backup

    def stall(*args, **kwargs):
        pathlib.Path("stalled").touch()
        time.sleep(600)

    graph, moment = test_resume.digits_graph(), sys.argv[1]
    if moment == "training":  # in the middle of round 3
        learn = graph["gmm"].learn
        graph["gmm"].learn = lambda *args: (graph.round == 2 and stall(), learn(*args))[1]
    elif moment == "collecting":  # arrays are written, the models are not
        save = keras.Model.save
        keras.Model.save = lambda *args: (graph.round == 4 and stall(), save(*args))[1]
    elif moment == "renaming":  # the new file is complete under its temporary name
        archive.os.fsync = stall
    elif moment == "removing":  # the new file is there, and the old one too
        backup.os.remove = stall
    graph.fit({rounds}, verbose=0, backup_dir="run")
    history = graph.history.history
    np.savez("end", *graph.get_weights(), *(history[name] for name in sorted(history)))
"""


def run_child(moment, kill=True):
    """Runs the program and kills it where it stalls; the names in its backup folder then."""
    code = textwrap.dedent(CHILD).format(here=str(pathlib.Path(__file__).parent), rounds=ROUNDS)
    child = subprocess.Popen([sys.executable, "-c", code, moment])
    try:
        if not kill:
            assert child.wait(timeout=1200) == 0
            return files_of_run()
        for _ in range(3000):
            assert child.poll() is None, "the program ended before it was killed"
            if os.path.exists("stalled"):
                break
            time.sleep(0.1)
        child.send_signal(signal.SIGKILL)
        child.wait()
        os.remove("stalled")
        return files_of_run()
    finally:
        child.kill()
        child.wait()


def files_of_run():
    """What is in the backup folder beside the lock of a process that was killed."""
    return sorted(name for name in os.listdir("run") if name != ".lock")


def file(done):
    return f"from0000_round{done:04d}.kserket"


@pytest.mark.slow
def test_killed_again_and_again_it_ends_where_the_uninterrupted_run_ends():
    left = run_child("training")
    assert left == [file(2)]
    left = run_child("collecting")
    assert left[1:] == [file(3)] and left[0].startswith("." + file(4))
    left = run_child("renaming")  # of round 4: what the last one left was cleared away
    assert left[1:] == [file(3)] and left[0].startswith("." + file(4))
    assert zipfile.is_zipfile(pathlib.Path("run", left[0]))
    left = run_child("removing")
    assert left == [file(3), file(4)]
    assert run_child("nothing", kill=False) == [file(ROUNDS)]

    graph = digits_graph()
    graph.fit(ROUNDS, verbose=0)
    history = graph.history.history
    expected = [*graph.get_weights(), *(history[name] for name in sorted(history))]
    with np.load("end.npz") as end:
        assert len(end.files) == len(expected)
        for name, array in zip(end.files, expected, strict=True):
            np.testing.assert_array_equal(end[name], array)


# Called again ------------------------------------------------------------------------------


def test_a_finished_run_is_there_at_once_and_goes_on_with_more_rounds():
    first = mixture_graph()
    first.fit(2, verbose=0, backup_dir="run")
    updates = []
    again = mixture_graph()
    again.fit(
        2,
        verbose=0,
        backup_dir="run",
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *args: updates.append(1))],
    )
    assert not updates
    assert_same(first, again)
    np.testing.assert_array_equal(first.predict(POINTS), again.predict(POINTS))

    more, straight = mixture_graph(), mixture_graph()
    more.fit(4, verbose=0, backup_dir="run")
    straight.fit(4, verbose=0)
    assert_same(more, straight)
    assert os.listdir("run") == ["from0000_round0004.kserket"]


def test_several_calls_of_fit_share_a_folder():
    def program(graph, **options):
        graph.fit(2, verbose=0, **options)
        graph["gmm"].itr = 3
        graph.fit(2, verbose=0, **options)
        return graph

    straight = program(mixture_graph())
    assert_same(program(mixture_graph(), backup_dir="run"), straight)
    assert len(os.listdir("run")) == 2
    assert_same(program(mixture_graph(), backup_dir="run"), straight)


def test_a_run_that_stopped_by_itself_stays_stopped():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    mixture_graph().fit(5, verbose=0, backup_dir="run", callbacks=[Stop()])
    graph = mixture_graph()
    graph.fit(5, verbose=0, backup_dir="run")
    assert graph.round == 2
    graph = mixture_graph()
    graph.fit(6, verbose=0, backup_dir="run")
    assert graph.round == 6


def test_a_round_that_was_interrupted_is_not_kept():
    def interrupt(epoch, logs=None):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    graph = mixture_graph()
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    graph.fit(4, verbose=0, backup_dir="run", callbacks=[callback])
    assert os.listdir("run") == ["from0000_round0001.kserket"]
    again, straight = mixture_graph(), mixture_graph()
    again.fit(4, verbose=0, backup_dir="run")
    straight.fit(4, verbose=0)
    assert_same(again, straight)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: mixture_graph(K=4), "gmm/arguments/K was 3, is now 4"),
        (lambda: mixture_graph(itr=9), "gmm/arguments/itr was 2, is now 9"),
        (lambda: mixture_graph(points=POINTS + 1), "obs/data/digest"),
        (digits_graph, "obs/data/shape"),
    ],
)
def test_the_folder_of_another_run_is_refused(make, said):
    mixture_graph().fit(2, verbose=0, backup_dir="run")
    other = make()
    with pytest.raises(ValueError, match=rf"from0000_round0002.*another graph or run: .*{said}"):
        other.fit(2, verbose=0, backup_dir="run")
    assert other.round == 0 and other["gmm"].model is None
    assert os.listdir("run") == ["from0000_round0002.kserket"]


def coarse_graph(change=None):
    """A VAE under a mixture, changed before its run as a program may do it."""
    vae1 = vae.VAE(2, itr=1, batch_size=90, likelihood="gaussian", save_dir=None)
    gmm1 = gmm.GMM(2, itr=1, n_init=1, save_dir=None)
    vae1.connect(srk.Observation(POINTS))
    gmm1.connect(vae1)
    if change is not None:
        setattr(vae1, *change)
    return srk.Graph(gmm1, seed=0)


@pytest.mark.parametrize(
    "change, said",
    [
        (("kl_weight", 0.5), "vae/arguments/KL_param was 1, is now 0.5"),
        (("trainable", False), "vae/trainable was True, is now False"),
    ],
)
def test_what_a_program_sets_before_its_run_belongs_to_it(change, said):
    coarse_graph().fit(1, verbose=0, backup_dir="run")
    with pytest.raises(ValueError, match=f"another graph or run: modules/{said}"):
        coarse_graph(change).fit(2, verbose=0, backup_dir="run")


def test_what_a_callback_sets_in_a_run_is_what_it_goes_on_with():
    def run(rounds, **options):
        graph = coarse_graph(("kl_weight", 0.1))

        def anneal(epoch, logs=None):
            graph["vae"].kl_weight = 0.1 * (epoch + 2)
            graph["vae"].trainable = epoch % 2 == 0

        callback = keras.callbacks.LambdaCallback(on_epoch_end=anneal)
        graph.fit(rounds, verbose=0, callbacks=[callback], **options)
        graph.fit(1, verbose=0, **options)
        return graph

    run(2, backup_dir="run")
    np.testing.assert_equal(run(3, backup_dir="run").history.history, run(3).history.history)


def test_fewer_rounds_than_there_are_and_damaged_files_are_refused():
    mixture_graph().fit(3, verbose=0, backup_dir="run")
    with pytest.raises(ValueError, match="holds 3 rounds, more than rounds=2"):
        mixture_graph().fit(2, verbose=0, backup_dir="run")
    path = pathlib.Path("run", "from0000_round0003.kserket")
    path.write_bytes(path.read_bytes()[:-100])
    graph = mixture_graph()
    with pytest.raises(ValueError, match="round0003.kserket cannot be loaded: .*truncated"):
        graph.fit(4, verbose=0, backup_dir="run")
    assert graph.round == 0 and graph["gmm"].model is None


def test_settings_changed_in_a_run_are_those_it_goes_on_with():
    class Slower(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 0:
                self.model["gmm"].itr = 1

    graph = mixture_graph()
    graph.fit(2, verbose=0, callbacks=[Slower()], backup_dir="run")
    again = mixture_graph()
    again.fit(2, verbose=0, callbacks=[Slower()], backup_dir="run")
    assert again["gmm"].itr == 1
    again.fit(1, verbose=0, backup_dir="run")
