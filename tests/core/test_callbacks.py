"""Keras callbacks, schedules, freezing and Ctrl-C on rounds of a graph."""

import csv
import os
import signal

import keras
import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mlda, mm, plotting, vae


def make_graph(**options):
    x, labels, *_ = srk.datasets.make_mixture(120, 3, 2, seed=0)
    x = (x - x.min(axis=0)) / np.ptp(x, axis=0)
    vae1 = vae.VAE(2, itr=2, batch_size=60, save_dir=None)
    gmm1 = gmm.GMM(3, itr=3, category=labels, save_dir=None, **options)
    vae1.connect(srk.Observation(x))
    gmm1.connect(vae1)
    return srk.Graph(gmm1, seed=0)


class Recorder(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.events = []

    def on_train_begin(self, logs=None):
        self.events.append("begin")

    def on_epoch_end(self, epoch, logs=None):
        self.events.append((epoch, sorted(logs)))

    def on_train_batch_end(self, batch, logs=None):
        self.events.append(("batch", batch))

    def on_train_end(self, logs=None):
        self.events.append("end")


def test_rounds_are_epochs_and_modules_are_batches():
    graph, recorder = make_graph(), Recorder()
    graph.fit(1, callbacks=[recorder], verbose=0)
    assert recorder.events[:4] == ["begin", ("batch", 0), ("batch", 1), ("batch", 2)]
    epoch, names = recorder.events[4]
    assert epoch == 0
    assert {"vae/loss", "gmm/log_likelihood", "gmm/accuracy", "gmm/message_change"} <= set(names)
    assert recorder.events[5:] == ["end"]


def test_one_history_over_all_calls():
    graph = make_graph()
    graph.fit(2, verbose=0)
    history = graph.fit(1, verbose=0)
    assert history is graph.history
    assert history.epoch == [0, 1, 2]
    assert len(history.history["vae/loss"]) == 3


def test_figures_that_were_not_reported_are_nan(tmp_path):
    graph, path = make_graph(), tmp_path / "log.csv"
    graph["vae"].itr, log = 1, keras.callbacks.CSVLogger(path, append=True)
    graph.fit(1, callbacks=[log], verbose=0)
    graph["vae"].trainable, graph["gmm"].labels = False, None
    graph.fit(2, callbacks=[log], verbose=0)
    graph["vae"].trainable = True
    graph["vae"].figures = lambda inference: {"new": 1.0}
    graph.fit(1, callbacks=[log], verbose=0)
    graph.save(tmp_path / "graph.kserket")
    for history in (
        graph.history.history,
        srk.load_graph(tmp_path / "graph.kserket").history.history,
    ):
        assert {len(values) for values in history.values()} == {4}
        assert np.isnan(history["vae/loss"]).tolist() == [False, True, True, False]
        assert np.isnan(history["gmm/accuracy"]).tolist() == [False, True, True, True]
        assert np.isnan(history["vae/new"]).tolist() == [True, True, True, False]
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [float(row["gmm/bound"]) for row in rows] == graph.history.history["gmm/bound"]
    ax, *_ = plotting.plot_history({"vae/loss": graph.history.history["vae/loss"]})
    assert ax.lines[0].get_xdata().tolist() == [1, 4]


def test_early_stopping_restores_the_best_weights():
    graph = make_graph()
    kept = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(self.model.get_weights())

    stopping = keras.callbacks.EarlyStopping(
        "gmm/live_classes", mode="min", min_delta=10, patience=2, restore_best_weights=True
    )
    graph.fit(10, callbacks=[Keep(), stopping], verbose=0)
    assert graph.round == 3
    for restored, best in zip(graph.get_weights(), kept[0], strict=True):
        assert np.array_equal(restored, best)


class Counts(srk.LearningModule):
    """A module whose model is an array."""

    def build_model(self, inputs):
        return np.zeros(1)

    def learn(self, inputs, prior, rng):
        self.model += 1.0
        return {"loss": float(self.model[0])}

    def infer(self, inputs, prior):
        return srk.Inference(np.asarray(inputs[0]), [None])


def test_models_that_are_not_of_keras_are_restored_too():
    module = Counts("counts", save_dir=None)
    module.connect(srk.Observation([[1.0], [2.0]]))
    graph = srk.Graph(module, seed=0)
    stopping = keras.callbacks.EarlyStopping(
        "counts/loss", mode="min", patience=2, restore_best_weights=True
    )
    graph.fit(10, callbacks=[stopping], verbose=0)
    assert graph.round == 3
    assert module.model == [1.0]
    with pytest.raises(ValueError, match="get_weights.*1 entries. Received: 2"):
        graph.set_weights([1.0, 2.0])


def test_model_checkpoint_writes_graphs(tmp_path):
    graph = make_graph()
    path = tmp_path / "graph-{epoch}.keras"
    graph.fit(2, callbacks=[keras.callbacks.ModelCheckpoint(path)], verbose=0)
    loaded = srk.load_graph(tmp_path / "graph-2.keras")
    x = graph.observations["obs"].data
    assert loaded.round == 2
    assert np.array_equal(loaded.predict(x), graph.predict(x))
    with pytest.raises(FileExistsError):
        graph.save(tmp_path / "graph-2.keras", overwrite=False)
    with pytest.warns(UserWarning, match=r"ends in .keras.*load_graph.*end in .kserket"):
        graph.save(tmp_path / "graph-2.keras")
    with pytest.raises(ValueError, match=r"ends in .keras.*SavedModel"):
        graph.export(tmp_path / "graph-2.keras")


def test_csv_logger_writes_a_line_a_round(tmp_path):
    graph = make_graph()
    graph.fit(2, callbacks=[keras.callbacks.CSVLogger(tmp_path / "log.csv")], verbose=0)
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert float(rows[1]["vae/loss"]) == graph.history.history["vae/loss"][1]


def test_terminate_on_nan_ends_the_run():
    class Diverging(srk.Module):
        def update(self):
            self.logs = {"loss": float("nan")}

    module = Diverging(name="diverging")
    module.connect(srk.Observation([[1.0]]))
    graph = srk.Graph(module)
    graph.fit(5, callbacks=[keras.callbacks.TerminateOnNaN()], verbose=0)
    assert graph.round == 1


def test_a_module_that_diverges_says_so_and_keeps_what_it_sent():
    graph = make_graph()
    graph.fit(1, verbose=0)
    module = graph["vae"]
    sent = module.get_forward_msg()
    for weight in module.model.trainable_weights:
        weight.assign(weight * np.nan)
    with pytest.raises(FloatingPointError, match="diverged"):
        graph.fit(1, verbose=0)
    assert module.get_forward_msg() is sent


def test_what_diverges_is_undone():
    graph, other = make_graph(), make_graph()
    graph.fit(1, verbose=0)
    other.fit(2, verbose=0)
    model = graph["vae"].model
    before = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]
    start = model.optimizer.learning_rate.numpy()

    class Explode(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate.assign(1e30)

    with pytest.raises(FloatingPointError, match="what it was before this update"):
        graph.fit(1, module_callbacks={"vae": [Explode()]}, verbose=0)
    assert model.optimizer.learning_rate.numpy() == start
    after = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    graph.fit(1, verbose=0)
    for old, new in zip(graph.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("itr", [1, 2])  # the loss is that before the last step
def test_what_diverges_at_once_is_undone(itr):
    x, *_ = srk.datasets.make_mixture(60, 3, 2, seed=0)
    vae1 = vae.VAE(2, itr=itr, likelihood="gaussian", learning_rate=1e30, save_dir=None, seed=0)
    vae1.connect(srk.Observation(x))
    with pytest.raises(FloatingPointError, match="^module.*_vae has diverged.*before this update"):
        vae1.update()
    assert vae1.get_forward_msg() is None and vae1.rounds == 0
    assert vae1.model is None  # as before


def test_lambda_callback_and_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    graph, seen = make_graph(), []
    graph.fit(
        2,
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch)),
            keras.callbacks.TensorBoard(tmp_path),
        ],
        verbose=0,
    )
    assert seen == [0, 1]
    assert any(name.startswith("events") for _, _, files in os.walk(tmp_path) for name in files)


def test_module_callbacks_watch_the_inner_fits():
    graph, epochs, sweeps = make_graph(), [], []
    graph.fit(
        2,
        module_callbacks={
            "vae": [keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: epochs.append(e))],
            "gmm": [keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: sweeps.append(e))],
        },
        verbose=0,
    )
    assert epochs == [0, 1, 0, 1]
    assert sweeps[0] == 0 and len(sweeps) > 2
    assert graph["vae"].callbacks == []


def test_a_rate_that_a_callback_sets_ends_with_the_update():
    graph, rates = make_graph(), []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: rates.append(float(graph["vae"].model.optimizer.learning_rate))
    )
    slower = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    graph.fit(2, module_callbacks={"vae": [slower, watch]}, verbose=0)
    np.testing.assert_allclose(rates, [0.005, 0.0025] * 2)
    assert float(graph["vae"].model.optimizer.learning_rate) == pytest.approx(0.01)

    def set_rate(epoch, logs=None):
        graph["vae"].learning_rate = 0.03

    setter = keras.callbacks.LambdaCallback(on_epoch_end=set_rate)
    graph.fit(1, module_callbacks={"vae": setter}, verbose=0)
    assert float(graph["vae"].model.optimizer.learning_rate) == pytest.approx(0.03)


def test_callbacks_come_as_keras_takes_them():
    class Count(keras.callbacks.Callback):
        begun = 0

        def on_train_begin(self, logs=None):
            self.begun += 1

    graph, outer, inner = make_graph(), Count(), Count()
    graph.fit(1, callbacks=None, module_callbacks={"vae": None, "gmm": inner}, verbose=0)
    graph.fit(1, callbacks=outer, module_callbacks={"gmm": [inner]}, verbose=0)
    graph.fit(1, callbacks=(outer,), verbose=0)
    assert (outer.begun, inner.begun) == (2, 2)
    with pytest.raises(TypeError, match="must be a Keras callback.*Received: 'loud'"):
        graph.fit(1, callbacks=["loud"], verbose=0)


@pytest.mark.parametrize(
    "callback, word",
    [
        (keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), "LearningRateScheduler"),
        (keras.callbacks.ReduceLROnPlateau("loss"), "ReduceLROnPlateau"),
        (keras.callbacks.SwapEMAWeights(), "SwapEMAWeights"),
        (keras.callbacks.TensorBoard("logs", write_steps_per_second=True), "write_steps"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
@pytest.mark.parametrize(
    "top",
    [
        lambda: gmm.GMM(3, save_dir=None, name="top"),
        lambda: mlda.MLDA(3, save_dir=None, name="top"),
        lambda: mm.MarkovModel(num_samp=3, save_dir=None, name="top"),
    ],
    ids=["gmm", "mlda", "mm"],
)
def test_callbacks_for_an_optimizer_are_refused_before_any_module_learns(top, callback, word):
    below, top = gmm.GMM(3, save_dir=None, name="below"), top()
    below.connect(srk.Observation(srk.datasets.make_mixture(60, 3, 2, seed=0)[0]))
    top.connect(below)
    graph = srk.Graph(top, seed=0)
    with pytest.raises(ValueError, match=f"_top learns by sweeps.*{word}"):
        graph.fit(1, module_callbacks={"top": callback}, verbose=0)
    assert graph.round == below.rounds == 0 and below.model is None


@pytest.mark.parametrize(
    "kind, options, cure",
    [
        ("LearningRateScheduler", {"schedule": float}, "module_callbacks={'vae': callback}"),
        ("ReduceLROnPlateau", {}, "module_callbacks={'vae': callback}"),
        ("SwapEMAWeights", {}, "module_callbacks={'vae': callback}"),
        ("TensorBoard", {"histogram_freq": 1}, "module_callbacks={'vae': callback}"),
        ("TensorBoard", {"write_steps_per_second": True}, "module_callbacks={'vae': callback}"),
        ("BackupAndRestore", {"backup_dir": "backup"}, "backup_dir="),
        (
            "ModelCheckpoint",
            {"filepath": "x.weights.h5", "save_weights_only": True},
            "Leave save_w",
        ),
    ],
)
def test_callbacks_for_one_model_are_refused_before_the_first_round(kind, options, cure):
    graph = make_graph()
    callback = getattr(keras.callbacks, kind)(**options)
    with pytest.raises(ValueError, match=f"^{kind} in `callbacks` needs .*{cure}"):
        graph.fit(1, callbacks=[callback], verbose=0)
    assert graph.round == 0 and graph["vae"].model is None


def test_callbacks_for_a_module_without_a_fit_are_refused():
    graph = make_graph()
    with pytest.raises(ValueError, match="`module_callbacks` names .*_obs, which fits no"):
        graph.fit(1, module_callbacks={"obs": Recorder()}, verbose=0)
    graph.fit(1, module_callbacks={"obs": None}, verbose=0)


@pytest.mark.parametrize(
    "model",
    [srk.GaussianMixture(2), srk.MarkovChain(2), srk.MultimodalLDA(2)],
    ids=lambda model: type(model).__name__,
)
def test_models_without_gradients_take_them_so_too(model):
    epochs = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    x = np.random.default_rng(0).dirichlet([1, 1], 20)
    x = x if not isinstance(model, srk.MultimodalLDA) else np.round(9 * x)
    model.fit(x, epochs=1, callbacks=None, verbose=0)
    model.fit(x, epochs=1, callbacks=watch, verbose=0)
    assert epochs == [0]
    model.fit(x, epochs=0, verbose=0)


def test_a_history_and_a_progress_bar_of_ones_own_stand_beside_the_graphs():
    graph, own = make_graph(), keras.callbacks.History()
    graph.fit(1, verbose=0)
    history = graph.fit(1, callbacks=[own, keras.callbacks.ProgbarLogger()], verbose=0)
    assert history is graph.history and history.epoch == [0, 1]
    assert own.epoch == [1] and len(own.history["vae/loss"]) == 1


def test_the_history_outlives_a_callback_that_fails():
    class Fails(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise OSError("no disk")

    graph = make_graph()
    graph.fit(1, verbose=0)
    before = dict(graph.history.history)
    with pytest.raises(OSError, match="no disk"):
        graph.fit(1, callbacks=[Fails()], verbose=0)
    assert graph.history.epoch == [0] and graph.history.history == before


def test_a_schedule_counts_updates_and_wrong_options_are_told():
    graph = make_graph()
    graph.fit(2, schedule={"vae": 3, "gmm": 1}, verbose=0)
    assert graph["vae"].rounds == 6
    assert graph["gmm"].rounds == 2
    with pytest.raises(ValueError, match=r"`schedule\['vae'\]` must be an integer >= 0"):
        graph.fit(1, schedule={"vae": -1})
    with pytest.raises(KeyError, match="no module 'vea'"):
        graph.fit(1, schedule={"vea": 1})
    with pytest.raises(
        ValueError, match="`tolerance` must be a finite number >= 0, or None. Received: -1"
    ):
        graph.fit(1, tolerance=-1)


def test_a_frozen_module_infers_and_does_not_learn():
    graph = make_graph()
    graph.fit(1, verbose=0)
    before = graph["vae"].model.get_weights()
    graph["vae"].trainable = False
    graph.fit(1, verbose=0)
    for old, new in zip(before, graph["vae"].model.get_weights(), strict=True):
        assert np.array_equal(old, new)


def test_ctrl_c_leaves_a_usable_graph():
    graph = make_graph()

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0 and graph.round == 1:
                os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    graph.fit(50, module_callbacks={"vae": [Interrupt()]}, verbose=0)
    assert graph.round == 2
    assert signal.getsignal(signal.SIGINT) is handler
    x = graph.observations["obs"].data
    assert np.allclose(graph.predict(x), graph["gmm"].posterior, atol=1e-5)
    graph.fit(1, verbose=0)
    assert graph.round == 3


def test_progress_speaks_and_is_silent(capsys):
    graph = make_graph()
    graph.fit(1, verbose=0)
    assert capsys.readouterr().out == ""
    graph.fit(4, verbose=1)
    out = capsys.readouterr().out
    assert "Round 2/5" in out and "left" in out and "gmm/accuracy" in out
    with pytest.raises(ValueError, match="verbose"):
        graph.fit(1, verbose="loud")
