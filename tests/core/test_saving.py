"""A graph in one file: the same predictions, the same training, and no trust in any file."""

import io
import json
import os
import pathlib
import subprocess
import sys
import textwrap
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mlda, mm, vae

X, LABELS = srk.datasets.load_digits()
X, LABELS = X[:200], LABELS[:200]


def digits_graph(x=X, rounds=2):
    """VAE+GMM on a few digits, fitted."""
    vae1 = vae.VAE(4, itr=5, batch_size=32, KL_param=0.01, save_dir=None)
    gmm1 = gmm.GMM(4, itr=5, category=LABELS, save_dir=None)
    vae1.connect(srk.Observation(x))
    gmm1.connect(vae1)
    graph = srk.Graph(gmm1, seed=0)
    graph.fit(rounds, verbose=0)
    return graph


POINTS = srk.datasets.make_mixture(90, 3, 2, seed=1).x


def mixture_graph(points=POINTS):
    """A GMM on points, fitted: a graph that is quickly made."""
    obs = srk.Observation(points)
    gmm1 = gmm.GMM(3, itr=5, save_dir=None, seed=0)
    gmm1.connect(obs)
    graph = srk.Graph(gmm1)
    graph.fit(1, verbose=0)
    return graph


def assert_same(one, other):
    """Two graphs hold the same figures, messages and parameters, to the last bit."""
    assert one.history.history == other.history.history
    assert (one.round, one.seed) == (other.round, other.seed)
    assert list(one.names.values()) == list(other.names.values())
    for mine, theirs in zip(one.modules, other.modules, strict=True):
        assert mine.get_name() == theirs.get_name()
        for ours, yours in [
            (mine.get_forward_msg(), theirs.get_forward_msg()),
            (mine.get_backward_msg(), theirs.get_backward_msg()),
            (mine.posterior, theirs.posterior),
        ]:
            np.testing.assert_array_equal(ours, yours)
            assert type(ours) is type(yours) or isinstance(ours, srk.Deferred)
        model = getattr(mine, "model", None)
        if isinstance(model, keras.Model):
            for ours, yours in zip(model.variables, theirs.model.variables, strict=True):
                np.testing.assert_array_equal(ours, yours)


# The same graph --------------------------------------------------------------------------


@srk.register_module("test_saving")
class Networks(vae.VAE):
    """A VAE with networks of its own, one of which draws random numbers while it trains."""

    def __init__(self, width):
        super().__init__(3, itr=2, batch_size=64, save_dir=None, likelihood="gaussian")
        self.width = width

    def build_encoder(self, x, latent_dim):
        hidden = keras.layers.Dense(self.width, "tanh")(x)
        hidden = keras.layers.Dropout(0.3)(hidden)
        return keras.layers.Dense(latent_dim)(hidden), keras.layers.Dense(latent_dim)(hidden)


def networks_graph():
    vae1 = Networks(12)
    vae1.connect(srk.Observation(X))
    gmm1 = gmm.GMM(3, itr=4, inference="gibbs", save_dir=None)
    gmm1.connect(vae1)
    graph = srk.Graph(gmm1, seed=3)
    graph.fit(1, verbose=0)
    return graph


def test_a_fresh_process_predicts_and_trains_on_the_same():
    graphs = {"digits": digits_graph(), "networks": networks_graph()}
    for name, graph in graphs.items():
        graph.save(f"{name}.kserket")
    code = f"""
        import sys, numpy as np
        sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
        import kserket, test_saving
        for name in ("digits", "networks"):
            graph = kserket.load_graph(f"{{name}}.kserket")
            before = graph.predict(test_saving.X[:50])
            graph.fit(2, verbose=0)
            np.savez(name, before=before, after=graph.predict(test_saving.X[:50]))
            graph.save(f"{{name}}2.kserket")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=1200)
    for name, graph in graphs.items():
        there = np.load(f"{name}.npz")
        np.testing.assert_array_equal(there["before"], graph.predict(X[:50]))
        graph.fit(2, verbose=0)
        np.testing.assert_array_equal(there["after"], graph.predict(X[:50]))
        assert_same(graph, srk.load_graph(f"{name}2.kserket"))


def test_a_markov_model_above_a_mixture():
    gmm1 = gmm.GMM(3, itr=5, save_dir=None)
    mm1 = mm.MarkovModel(itr=5, n_init=2, inference="sampled", lengths=[40, 50], save_dir=None)
    gmm1.connect(srk.Observation(POINTS))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(1, verbose=0)
    graph.save("graph.kserket")
    other = srk.load_graph("graph.kserket")
    graph.fit(2, verbose=0)
    other.fit(2, verbose=0)
    assert_same(graph, other)


def test_networks_given_as_models_come_back_before_and_after_training():
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((64,)), keras.layers.Dense(5, "relu")])
    vae1 = vae.VAE(2, itr=2, batch_size=64, encoder=encoder, save_dir=None, seed=0)
    vae1.connect(srk.Observation(X))
    graph = srk.Graph(vae1)
    graph.save("before.kserket")
    other = srk.load_graph("before.kserket")
    graph.fit(1, verbose=0)
    other.fit(1, verbose=0)
    assert_same(graph, other)
    graph.save("after.kserket")
    assert_same(graph, srk.load_graph("after.kserket"))


@srk.register_module("test_saving")
class Frozen(vae.VAE):
    """Its encoder never learns."""

    def build_model(self, inputs):
        model = super().build_model(inputs)
        model.encoder.trainable = False
        return model


@pytest.mark.parametrize("when", ["as it is built", "after a round"])
@pytest.mark.parametrize("network", ["documented", "given"])
def test_frozen_networks_come_back_frozen(when, network):
    keras.utils.set_random_seed(0)
    given = keras.Sequential([keras.Input((64,)), keras.layers.Dense(5)])
    cls, options = (Frozen if when == "as it is built" else vae.VAE), {"save_dir": None, "seed": 0}
    vae1 = cls(2, itr=2, batch_size=64, encoder=given if network == "given" else None, **options)
    vae1.connect(srk.Observation(X))
    graph = srk.Graph(vae1)
    graph.fit(1, verbose=0)
    if when == "after a round":
        vae1.model.encoder.trainable = False
        vae1.model.compile(keras.optimizers.Adam(0.01))
        graph.fit(1, verbose=0)
    graph.save("graph.kserket")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Skipping variable loading")
        other = srk.load_graph("graph.kserket")
    before = vae1.model.encoder.get_weights()
    graph.fit(1, verbose=0)
    other.fit(1, verbose=0)
    for weight, kept in zip(other["vae"].model.encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert_same(graph, other)


def test_a_network_that_two_modules_share_is_told_of():
    encoders = [keras.Sequential([keras.Input((64,)), keras.layers.Dense(5)]) for _ in range(2)]
    for first, second in ((encoders[0], encoders[0]), encoders):
        modules = [
            vae.VAE(2, itr=1, batch_size=200, encoder=encoder, name=name, save_dir=None)
            for encoder, name in ((first, "left"), (second, "right"))
        ]
        for module in modules:
            module.connect(srk.Observation(X))
        graph = srk.Graph(*modules, seed=0)
        graph.fit(1, verbose=0)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            graph.save("graph.kserket")
        said = [str(warning.message) for warning in said if "share" in str(warning.message)]
        assert len(said) == (first is second)
    assert srk.load_graph("graph.kserket")["left"].model is not None


@pytest.mark.parametrize(
    "module, settings",
    [
        (vae.VAE(2, save_dir=None), {"itr": 3, "batch_size": 30, "learning_rate": 0.1}),
        (gmm.GMM(3, save_dir=None), {"itr": 3}),
        (mm.MarkovModel(save_dir=None), {"itr": 3, "lengths": [40, 50]}),
        (mlda.MLDA(3, save_dir=None), {"itr": 3, "shared_classes": False}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_settings_of_every_family_are_those_in_force(module, settings):
    module.connect(srk.Observation(POINTS))
    for name, value in settings.items():
        setattr(module, name, value)
    assert settings.items() <= module.get_config().items()
    srk.Graph(module).save("graph.kserket")
    other = srk.load_graph("graph.kserket")[module.name]
    assert {name: getattr(other, name) for name in settings} == settings


@pytest.mark.parametrize("kinds", [["cat", "dog"], [0, 1]])
def test_labels_of_any_kind_are_saved(kinds):
    labels = np.array(kinds * 45, dtype=object)
    gmm1 = gmm.GMM(2, itr=1, category=labels, save_dir=None, seed=0)
    gmm1.connect(srk.Observation(POINTS))
    srk.Graph(gmm1).save("graph.kserket")
    assert (srk.load_graph("graph.kserket")["gmm"].labels == labels).all()


def test_dates_are_no_labels():
    with pytest.raises(ValueError, match="numbers or strings.*astype"):
        gmm.GMM(2, category=np.array(["2026-01-01", "2026-01-02"], "datetime64[D]"))


def test_settings_changed_since_the_constructor_come_back():
    graph = digits_graph(rounds=1)
    graph["vae"].kl_weight = 0.25
    graph["vae"].trainable = False
    graph["gmm"].mode = "recog"
    graph["gmm"].labels = np.array(list("abcdefghij"))[LABELS]
    graph.save("graph.kserket")
    other = srk.load_graph("graph.kserket")
    assert other["vae"].kl_weight == graph["vae"].kl_weight
    assert (other["vae"].trainable, other["gmm"].mode) == (False, "recog")
    np.testing.assert_array_equal(other["gmm"].labels, graph["gmm"].labels)
    graph.fit(1, verbose=0)
    other.fit(1, verbose=0)
    assert_same(graph, other)


def test_edges_that_send_nothing_back_and_messages_set_by_hand():
    graph = mixture_graph()
    rng = np.random.default_rng(0)
    graph["gmm"].set_backward_msg(srk.Categorical(rng.dirichlet(np.ones(3), 90)))
    graph["gmm"].connect(graph["obs"], backward=False)
    graph.save("graph.kserket")
    other = srk.load_graph("graph.kserket")
    assert other["gmm"].sends_back is False
    graph.fit(1, verbose=0)
    other.fit(1, verbose=0)
    assert_same(graph, other)


def test_arrays_keep_their_order_in_memory():
    graph = digits_graph(np.asfortranarray(X), rounds=1)
    graph.save("graph.kserket")
    other = srk.load_graph("graph.kserket")
    assert other["obs"].data.flags.f_contiguous
    graph.fit(1, verbose=0)
    other.fit(1, verbose=0)
    assert_same(graph, other)


def test_numbers_go_on_after_those_in_the_file():
    mixture_graph().save("graph.kserket")
    srk.Module.reset_names()
    loaded = srk.load_graph("graph.kserket")
    assert loaded["gmm"].get_name() == "module001_gmm"
    assert gmm.GMM(2).get_name() == "module002_gmm"


# Data ------------------------------------------------------------------------------------


def test_data_left_out_are_given_again():
    graph = mixture_graph()
    graph.save("with.kserket")
    graph.save("without.kserket", include_data=False)
    assert POINTS.tobytes() in pathlib.Path("with.kserket").read_bytes()
    assert POINTS.tobytes() not in pathlib.Path("without.kserket").read_bytes()
    other = srk.load_graph("without.kserket", data={"obs": POINTS})
    graph.fit(1, verbose=0)
    other.fit(1, verbose=0)
    assert_same(graph, other)


def test_without_its_data_a_graph_predicts_and_does_not_fit():
    graph = mixture_graph()
    graph.save("graph.kserket", include_data=False)
    other = srk.load_graph("graph.kserket")
    np.testing.assert_array_equal(other.predict(POINTS), graph.predict(POINTS))
    with pytest.raises(RuntimeError, match=r"'obs' were not saved.*load_graph\(path, data="):
        other.fit(1, verbose=0)
    other.save("again.kserket")
    assert_same(graph, srk.load_graph("again.kserket", data={"obs": POINTS}))
    other["obs"].set_data(POINTS)
    other.fit(1, verbose=0)


@pytest.mark.parametrize(
    "change, said",
    [(lambda x: x[:-1], "shape"), (lambda x: x.astype("float32"), "dtype"), (np.flip, "digest")],
)
def test_other_data_than_those_saved_are_refused(change, said):
    graph = mixture_graph()
    graph.save("graph.kserket", include_data=False)
    with pytest.raises(ValueError, match=rf"graph.kserket.*'obs'.*{said} was"):
        srk.load_graph("graph.kserket", data={"obs": change(POINTS)})
    with pytest.raises(ValueError, match=r"names among \['obs'\]"):
        srk.load_graph("graph.kserket", data={"images": X})


def test_memory_maps_are_not_copied_into_the_file():
    np.save("x.npy", POINTS)
    mapped = np.load("x.npy", mmap_mode="r")
    graph = mixture_graph(mapped)
    graph.save("graph.kserket")
    with pytest.raises(RuntimeError, match="not saved"):
        srk.load_graph("graph.kserket").fit(1, verbose=0)
    other = srk.load_graph("graph.kserket", data={"obs": mapped})
    graph.fit(1, verbose=0)
    other.fit(1, verbose=0)
    assert_same(graph, other)


# Modules of one's own ----------------------------------------------------------------------


@srk.register_module("test_saving")
class Adder(srk.Module):
    """Serket's way: update() only, with a state of its own."""

    def __init__(self, step, name="adder"):
        super().__init__(name)
        self.step, self.total = step, np.zeros(2)

    def update(self):
        (x,) = self.get_observations()
        self.total = self.total + self.step
        self.set_forward_msg(np.asarray(x) + self.total)

    def get_state(self):
        return {"total": self.total, "kinds": ("a", None, 1.5), "place": pathlib.Path("x")}

    def set_state(self, state):
        assert (state["kinds"], state["place"]) == (("a", None, 1.5), pathlib.Path("x"))
        self.total = state["total"]


class Centers:
    """A model that is no Keras model."""

    def __init__(self, points):
        self.points = points


@srk.register_module("test_saving", name="Nearest")
class NearestCenter(srk.LearningModule):
    """Saved through `get_parameters` and `set_parameters`."""

    def build_model(self, inputs):
        return Centers(np.zeros((2, np.shape(inputs[0])[1])))

    def learn(self, inputs, prior, rng):
        x = np.asarray(inputs[0])
        self.model.points = 0.5 * self.model.points + x[rng.choice(len(x), 2)]
        return {}

    def infer(self, inputs, prior):
        distance = np.linalg.norm(np.asarray(inputs[0])[:, None] - self.model.points, axis=2)
        message = srk.Categorical.from_log(-distance)
        return srk.Inference(message, [None], message)

    def get_parameters(self):
        return {"points": self.model.points}

    def set_parameters(self, arrays):
        self.model.points = arrays["points"]


def own_graph():
    rng = np.random.default_rng(0)
    adder = Adder(np.array([1.0, 2.0]))
    adder.connect(srk.Observation(rng.normal(size=(20, 2))))
    nearest = NearestCenter("nearest", save_dir=None, seed=1)
    nearest.connect(adder)
    graph = srk.Graph(nearest)
    graph.fit(2, verbose=0)
    return graph


def test_modules_of_ones_own_are_saved():
    graph = own_graph()
    graph.save("graph.kserket")
    other = srk.load_graph("graph.kserket")
    graph.fit(2, verbose=0)
    other.fit(2, verbose=0)
    assert_same(graph, other)
    np.testing.assert_array_equal(graph["nearest"].model.points, other["nearest"].model.points)


def test_a_class_that_is_not_registered_is_not_saved():
    class Unknown(srk.Module):
        pass

    unknown = Unknown("unknown")
    unknown.connect(srk.Observation(np.ones((3, 1))))
    with pytest.raises(ValueError, match=r"Unknown is not registered.*@kserket.register_module"):
        srk.Graph(unknown).save("graph.kserket")
    assert not os.listdir()


def test_what_cannot_be_saved_is_named():
    graph = own_graph()
    graph["adder"].total = {1, 2}
    with pytest.raises(TypeError, match=r"get_state\(\) of module000_adder.*'total'.*a set"):
        graph.save("graph.kserket")


def test_two_classes_cannot_have_one_name():
    with pytest.raises(ValueError, match=r"test_saving>Adder is the name of .*Adder already"):

        @srk.register_module("test_saving", name="Adder")
        class Other(srk.Module):
            pass

    with pytest.raises(TypeError, match=r"@kserket.register_module\('my_lab'\)"):

        @srk.register_module
        class Another(srk.Module):
            pass


# Writing -----------------------------------------------------------------------------------


def test_the_file_holds_json_hdf5_and_keras_files_only():
    graph = digits_graph(rounds=1)
    graph.save("graph.kserket")
    with zipfile.ZipFile("graph.kserket") as archive:
        content = json.loads(archive.read("graph.json"))
        names = set(archive.namelist())
        h5py.File(io.BytesIO(archive.read("arrays.h5"))).close()
        for name in names - {"graph.json", "arrays.h5"}:
            inside = zipfile.ZipFile(io.BytesIO(archive.read(name))).namelist()
            assert {"metadata.json", "config.json", "model.weights.h5"} >= set(inside)
    assert names == {"graph.json", "arrays.h5", "models/0.keras", "models/1.keras"}
    assert {"format", "kserket", "keras", "tensorflow", "numpy"} <= content.keys()
    assert [entry["class"] for entry in content["modules"]] == [
        "kserket>Observation",
        "kserket>VAE",
        "kserket>GMM",
    ]


def test_a_save_that_fails_leaves_the_old_file(monkeypatch):
    graph = mixture_graph()
    graph.save("graph.kserket")
    before = pathlib.Path("graph.kserket").read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    graph.fit(1, verbose=0)
    with pytest.raises(OSError, match="disk full"):
        graph.save("graph.kserket")
    assert pathlib.Path("graph.kserket").read_bytes() == before
    assert os.listdir() == ["graph.kserket"]


# Files not to be trusted -------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a file that loads."""
    path = tmp_path_factory.mktemp("good") / "good.kserket"
    mixture_graph().save(path)
    return path.read_bytes()


def parts_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return buffer.getvalue()


def with_json(data, change):
    """The file with something in graph.json changed."""
    parts = parts_of(data)
    content = json.loads(parts["graph.json"])
    change(content)
    return zipped({**parts, "graph.json": json.dumps(content)})


def with_array(data, write):
    """The file with its first array put there by `write(hdf5_file)`."""
    parts = parts_of(data)
    pathlib.Path("arrays.h5").write_bytes(parts["arrays.h5"])
    with h5py.File("arrays.h5", "r+") as file:
        del file["0"]
        write(file)
    return zipped({**parts, "arrays.h5": pathlib.Path("arrays.h5").read_bytes()})


def with_weights(data, write):
    """The file with something added to the weights of its Keras model."""
    parts = parts_of(data)
    inside = parts_of(parts["models/0.keras"])
    pathlib.Path("weights.h5").write_bytes(inside["model.weights.h5"])
    with h5py.File("weights.h5", "r+") as file:
        write(file)
    inside["model.weights.h5"] = pathlib.Path("weights.h5").read_bytes()
    return zipped({**parts, "models/0.keras": zipped(inside)})


def flipped(data, offset):
    data = bytearray(data)
    data[offset] ^= 0xFF
    return bytes(data)


def shape_bomb(file, name="0"):
    """A dataset that claims 8 TB and has none of it written."""
    file.create_dataset(name, shape=(10**12,), dtype="float64")


def compressed_bomb(file, name="0"):
    file.create_dataset(name, data=np.zeros(10**6), compression="gzip")


def outside_array(file, name="0"):
    pathlib.Path("secret.bin").write_bytes(b"12345678")
    file.create_dataset(name, (1,), "float64", external=[("secret.bin", 0, 8)])


def outside_link(file, name="0"):
    with h5py.File("other.h5", "w") as other:
        other["x"] = np.zeros(3)
    file[name] = h5py.ExternalLink("other.h5", "x")


def soft_link(file, name="0"):
    file[name] = h5py.SoftLink("/1")


def unpickled(file, name="0"):
    file.create_dataset(name, data=np.array(["x"], dtype=object), dtype=h5py.string_dtype())


def hdf5_bytes(_):
    with h5py.File("plain.h5", "w") as file:
        file["x"] = np.arange(3)
    return pathlib.Path("plain.h5").read_bytes()


def lambda_model(data):
    """The Keras model replaced by one that would run code."""
    x = keras.Input((1,))
    keras.Model(x, keras.layers.Lambda(lambda t: t + 1)(x)).save("lambda.keras")
    return zipped({**parts_of(data), "models/0.keras": pathlib.Path("lambda.keras").read_bytes()})


def alien_model(data):
    """The Keras model replaced by one of a class that nobody knows here."""
    parts = parts_of(data)
    inside = parts_of(parts["models/0.keras"])
    config = inside["config.json"].decode().replace("GaussianMixture", "Alien")
    return zipped({**parts, "models/0.keras": zipped({**inside, "config.json": config})})


def set_class(name):
    return lambda content: content["modules"][1].update({"class": name})


BAD_FILES = {
    "empty": (lambda data: b"", "not a file of kserket"),
    "text": (lambda data: b"hello " * 99, "not a file of kserket"),
    "hdf5": (hdf5_bytes, "HDF5 file"),
    "plain zip": (lambda data: zipped({"graph.json": b"{}", "arrays.h5": b""}), "not one that"),
    "keras model": (
        lambda data: parts_of(data)["models/0.keras"],
        "a Keras model, not a graph.*keras.models.load_model, after `import kserket`",
    ),
    "foreign zip": (lambda data: zipped({"readme.txt": b"x"}), "readme.txt.* not one that"),
    "half": (lambda data: data[: len(data) // 2], "truncated or damaged"),
    "last bytes missing": (lambda data: data[:-10], "truncated or damaged"),
    "last part missing": (lambda data: data[:-200], "truncated or damaged"),
    "head only": (lambda data: data[:20], "truncated or damaged"),
    "bit in json": (lambda data: flipped(data, 200), "truncated or damaged"),
    "bit in arrays": (lambda data: flipped(data, len(data) // 3), "truncated or damaged"),
    "bit in directory": (lambda data: flipped(data, len(data) - 30), "damaged|not one that"),
    "newer": (
        lambda data: with_json(data, lambda c: c.update(format=99, kserket="9.9")),
        r"format 99, newer.*Install kserket 9\.9",
    ),
    "no modules": (lambda data: with_json(data, lambda c: c.pop("modules")), "backup of a run"),
    "wrong json": (lambda data: with_json(data, lambda c: c.pop("state")), "does not fit"),
    "bad json": (lambda data: zipped({**parts_of(data), "graph.json": "{"}), "graph.json is dam"),
    "unknown class": (
        lambda data: with_json(data, set_class("my_lab>Robot")),
        r"'my_lab>Robot' is not known.*Import.*@kserket.register_module\('my_lab'\)",
    ),
    "code as class": (lambda data: with_json(data, set_class("os>system")), "not known"),
    "cycle": (
        lambda data: with_json(data, lambda c: c["modules"][1].update(inputs=[1])),
        "not there",
    ),
    "parent path": (lambda data: zipped({**parts_of(data), "../evil": b"x"}), "points out"),
    "absolute path": (lambda data: zipped({**parts_of(data), "/tmp/evil": b"x"}), "points out"),
    "windows path": (lambda data: zipped({**parts_of(data), "C:\\evil": b"x"}), "points out"),
    "zip bomb": (
        lambda data: zipped({**parts_of(data), "arrays.h5": bytes(10**7)}, zipfile.ZIP_DEFLATED),
        "unpacks from|nothing compressed",
    ),
    "shape bomb": (lambda data: with_array(data, shape_bomb), "claims 8000000000000 bytes"),
    "compressed array": (lambda data: with_array(data, compressed_bomb), "compressed"),
    "outside array": (lambda data: with_array(data, outside_array), "other files"),
    "outside link": (lambda data: with_array(data, outside_link), "link"),
    "soft link": (lambda data: with_array(data, soft_link), "link"),
    "objects": (lambda data: with_array(data, unpickled), "not an array of numbers"),
    "shape bomb in weights": (
        lambda data: with_weights(data, lambda file: shape_bomb(file, "x")),
        "claims 8000000000000 bytes",
    ),
    "link in weights": (
        lambda data: with_weights(data, lambda file: outside_link(file, "x")),
        "link",
    ),
    "zip bomb in model": (
        lambda data: zipped(
            {
                **parts_of(data),
                "models/0.keras": zipped({"config.json": bytes(10**7)}, zipfile.ZIP_DEFLATED),
            }
        ),
        "unpacks from",
    ),
    "code in model": (lambda data: lambda_model(data), "[Ll]ambda"),
    "alien model": (alien_model, "Alien.*register_keras_serializable"),
    "model missing": (
        lambda data: zipped({k: v for k, v in parts_of(data).items() if "keras" not in k}),
        "missing",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_raise_and_change_nothing(case, good, tmp_path):
    make, said = BAD_FILES[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile, of names that come twice
        pathlib.Path("bad.kserket").write_bytes(make(good))
    before = sorted(path.name for path in tmp_path.rglob("*"))
    count = srk.Module._count
    with pytest.raises(ValueError, match=rf"(?s)bad\.kserket cannot be loaded.*({said})"):
        srk.load_graph("bad.kserket")
    assert srk.Module._count == count
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


# Networks of one's own ----------------------------------------------------------------------


def with_encoder(*layers):
    """A VAE whose encoder has these layers, too; it has learned nothing."""
    encoder = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(4)])
    vae1 = vae.VAE(2, itr=1, likelihood="gaussian", encoder=encoder, save_dir=None)
    vae1.connect(srk.Observation(POINTS))
    return srk.Graph(vae1, seed=0)


class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x


@keras.saving.register_keras_serializable("kserket_tests")
class Strict(keras.layers.Layer):
    def __init__(self):
        super().__init__()

    def call(self, x):
        return x


def squared(x):
    return x**2


UNREAD = {
    "class": (Doubled, "class Doubled is not registered.*register_keras_serializable"),
    "function": (lambda: keras.layers.Dense(4, squared), "function squared is not registered"),
    "lambda": (lambda: keras.layers.Lambda(lambda x: x), "Python lambda"),
    "constructor": (Strict, "constructor of Strict does not take .*trainable"),
}


@pytest.mark.parametrize("case", UNREAD)
def test_a_network_that_no_file_could_bring_back_is_not_saved(case):
    layer, said = UNREAD[case]
    graph = with_encoder(layer())
    pathlib.Path("graph.kserket").write_bytes(b"before")
    with pytest.raises(ValueError, match=rf"_vae\['encoder'\] could not be loaded.*{said}"):
        graph.save("graph.kserket")
    assert pathlib.Path("graph.kserket").read_bytes() == b"before"
    with pytest.raises(ValueError, match=said):
        graph.fit(1, verbose=0, backup_dir="backup")
    assert graph.round == 0


def test_what_was_learned_is_saved_once_its_class_is_registered():
    class Late(keras.layers.Layer):
        def call(self, x):
            return 2.0 * x

    graph = with_encoder(Late(), keras.layers.Dense(3, keras.ops.tanh))
    graph.fit(1, verbose=0)
    with keras.saving.custom_object_scope({"Late": Late}):
        graph.save("named.kserket")
    with pytest.raises(ValueError, match=r"(?s)Late.*custom_object_scope\({"):
        srk.load_graph("named.kserket")
    with keras.saving.custom_object_scope({"Late": Late}):
        assert_same(graph, srk.load_graph("named.kserket"))
    with pytest.raises(ValueError, match="class Late is not registered"):
        graph.save("graph.kserket")
    keras.saving.register_keras_serializable("kserket_tests")(Late)
    graph.save("graph.kserket")
    assert_same(graph, srk.load_graph("graph.kserket"))


def test_the_good_file_loads(good):
    pathlib.Path("good.kserket").write_bytes(good)
    assert srk.load_graph("good.kserket").round == 1
    with pytest.raises(FileNotFoundError, match="no file nothing.kserket"):
        srk.load_graph("nothing.kserket")


def test_every_flipped_byte_is_noticed_or_harmless(good):
    """Damage anywhere gives ValueError or the very same graph, never another one."""
    pathlib.Path("good.kserket").write_bytes(good)
    graph = srk.load_graph("good.kserket")
    for offset in np.random.default_rng(0).integers(len(good), size=25):
        pathlib.Path("bad.kserket").write_bytes(flipped(good, offset))
        try:
            other = srk.load_graph("bad.kserket")
        except ValueError:
            continue
        assert_same(graph, other)
