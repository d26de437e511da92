"""Damaged, foreign and hostile files: a ValueError with the path, soon, in little memory."""

import io
import json
import pathlib
import shutil
import subprocess
import sys
import textwrap
import zipfile

import h5py
import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mm, utils, vae
from kserket.core import hdf5, results

FILES = pathlib.Path(__file__).parent / "files"
X = srk.datasets.make_mixture(40, 2, 2, seed=0).x


def mixture_graph(save_dir=None, **options):
    gmm1 = gmm.GMM(2, itr=2, n_init=1, save_dir=save_dir, **options)
    gmm1.connect(srk.Observation(X))
    return srk.Graph(gmm1, seed=0)


# Parameters --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The folder of a mixture's result files."""
    folder = tmp_path_factory.mktemp("learned")
    graph = mixture_graph(folder)
    graph.fit(1, verbose=0)
    return graph["gmm"].folder


def as_format_1(path):
    """The file at `path` in the format that had no checksum, for `h5py` to write to."""
    arrays, metadata = results.read_parameters(path)
    with h5py.File(path, "w") as file:
        file.attrs["kserket"] = json.dumps({**metadata, "format": 1}, sort_keys=True)
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def with_h5(change):
    def write(path):
        as_format_1(path)
        with h5py.File(path, "r+") as file:
            change(file)

    return write


def with_arrays(change):
    """Parameters that were changed by somebody who also wrote fingerprint and checksum."""

    def write(path):
        arrays, metadata = results.read_parameters(path)
        change(arrays, metadata)
        results.write_parameters(path, arrays, metadata)

    return write


def two_links_each(file, count=40):
    groups = [file.create_group(f"z{index}") for index in range(count)]
    for above, below in zip(groups, groups[1:], strict=False):
        above["a"] = above["b"] = below


def empty_compressed(file):
    for index in range(300):
        file.create_dataset(f"e{index}", (10**6,), chunks=(10**6,), compression="gzip")


def update(name, value):
    return with_arrays(lambda arrays, _: arrays.update({name: value(arrays[name])}))


def describe(**changes):
    return with_arrays(lambda _, metadata: metadata.update(changes))


PARAMETERS = {
    "two links each": with_h5(two_links_each),
    "a cycle": with_h5(lambda file: file.__setitem__("self", file["/"])),
    "compressed": with_h5(empty_compressed),
    "a shape without data": with_h5(lambda file: file.create_dataset("x", (10**12,))),
    "external": with_h5(lambda file: file.create_dataset("x", (1,), external=[("s", 0, 8)])),
    "a soft link": with_h5(lambda file: file.__setitem__("x", h5py.SoftLink("/scatter"))),
    "objects": with_h5(lambda file: file.__setitem__("x", "text")),
    "no space": with_h5(lambda file: file.create_dataset("x", data=h5py.Empty("f8"))),
    "no metadata": with_h5(lambda file: file.attrs.__delitem__("kserket")),
    "numbers as metadata": with_h5(lambda file: file.attrs.__setitem__("kserket", 3)),
    "nan": update("mean", lambda mean: mean * np.nan),
    "infinity": update("scatter", lambda scatter: scatter * np.inf),
    "negative definite": update("scatter", lambda scatter: -scatter),
    "negative freedom": update("degrees_of_freedom", lambda freedom: -freedom),
    "negative weights": update("weight_concentration", lambda weights: -weights),
    "complex": update("mean", lambda mean: mean + 1j),
    "whole numbers": update("mean", lambda mean: mean.astype("int64")),
    "another shape": update("mean", lambda mean: mean[:, :1]),
    "settings": describe(settings=None),
    "settings of a list": describe(settings=[]),
    "inputs of a number": describe(inputs=5),
    "no inputs": describe(inputs=[]),
    "too many inputs": describe(inputs=[None, None]),
    "another module": describe(module="VAE"),
    "shapes": describe(input_shapes=7),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_bad_parameters_are_refused(case, learned, tmp_path):
    shutil.copytree(learned, tmp_path / "folder")
    path = tmp_path / "folder" / "parameters.h5"
    PARAMETERS[case](path)
    graph = mixture_graph(mode="recog", load_dir=path.parent)
    with pytest.raises(ValueError, match="parameters.h5"):
        graph.fit(1, verbose=0)
    assert graph["gmm"].model is None and graph["gmm"].rounds == 0


def test_good_parameters_are_taken(learned, tmp_path):
    shutil.copytree(learned, tmp_path / "folder")
    for change in (lambda path: None, as_format_1):
        change(tmp_path / "folder" / "parameters.h5")
        graph = mixture_graph(mode="recog", load_dir=tmp_path / "folder")
        graph.fit(1, verbose=0)
        assert graph["gmm"].rounds == 1


def flipped_bytes(learned, tmp_path, number):
    """Flips bytes one by one, each refused; HDF5 sees none of these files."""
    content = (learned / "parameters.h5").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "parameters.h5"
    for offset in rng.choice(len(content), min(number, len(content)), replace=False):
        damaged = bytearray(content)
        damaged[offset] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="parameters.h5"):
            results.read_parameters(path)
    for size in rng.integers(len(content), size=number // 10):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="parameters.h5"):
            results.read_parameters(path)


def test_a_flipped_byte_of_parameters_is_noticed(learned, tmp_path):
    flipped_bytes(learned, tmp_path, 300)


@pytest.mark.fuzz
def test_every_flipped_byte_of_parameters_is_noticed(learned, tmp_path):
    flipped_bytes(learned, tmp_path, 10**6)


def test_a_wrong_byte_where_format_1_says_where_its_text_stands(tmp_path):
    """HDF5 ends the process when it reads such an attribute; it is never asked to."""
    path = tmp_path / "parameters.h5"
    with h5py.File(path, "w") as file:
        file.attrs["kserket"] = "{}"
    content = bytearray(path.read_bytes())
    place = content.index(b"kserket\0")
    for offset in range(place, place + 60):
        damaged = bytearray(content)
        damaged[offset] ^= 0xE8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="parameters.h5"):
            results.read_parameters(path)


# Graphs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Parts of the file of a mixture under a chain."""
    gmm1 = gmm.GMM(2, itr=2, n_init=1, save_dir=None)
    mm1 = mm.MarkovModel(itr=2, n_init=1, save_dir=None)
    gmm1.connect(srk.Observation(X))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(1, verbose=0)
    path = tmp_path_factory.mktemp("chain") / "chain.kserket"
    graph.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_zip(path, parts):
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return path


def set_state(name, value, module=1):
    return lambda content: content["state"]["modules"][module]["state"].update({name: value})


def swap_models(content):
    first, second = content["state"]["modules"][1], content["state"]["modules"][2]
    first["model"], second["model"] = second["model"], first["model"]


def set_part(name, value):
    return lambda content: content["state"]["modules"][1].update({name: value})


GRAPHS = {
    "mode": set_state("mode", "evil"),
    "itr": set_state("itr", -5),
    "rounds": set_state("rounds", "x"),
    "negative rounds": set_state("rounds", -1),
    "logs": set_state("logs", 5),
    "posterior": set_state("_posterior", 5),
    "seed": set_state("seed", -1),
    "text_limit": set_state("text_limit", "none"),
    "trainable": set_state("trainable", "False"),
    "shapes": set_state("_input_shapes", 5),
    "lengths": set_state("lengths", "all", module=2),
    "state": set_part("state", 5),
    "forward": set_part("forward", 5),
    "backward": set_part("backward", [[9, None]]),
    "a sender from the end": set_part("backward", [[-1, None]]),
    "a number for a model": set_part("model", 5),
    "an array for a model": set_part("model", {"$array": 0}),
    "models of each other": swap_models,
    "round": lambda content: content["state"].update(round=-1),
    "history": lambda content: content["state"].update(history=5),
    "epochs": lambda content: content["state"].update(epochs={}),
    "seed of the graph": lambda content: content.update(seed="x"),
    "tops": lambda content: content.update(tops=[-1]),
    "number": lambda content: content["modules"][1].update(number="many"),
    "shape of data": lambda content: content["modules"][0]["data"].update(shape=[2, 10**12]),
    "dtype of data": lambda content: content["modules"][0]["data"].update(dtype="O"),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_bad_graphs_are_refused(case, chain, tmp_path):
    content = json.loads(chain["graph.json"])
    if "data" in case:
        del content["modules"][0]["data"]["values"]
    GRAPHS[case](content)
    path = write_zip(tmp_path / "bad.kserket", {**chain, "graph.json": json.dumps(content)})
    with pytest.raises(ValueError, match="bad.kserket cannot be loaded"):
        srk.load_graph(path)


def with_weights(parts, change):
    """The parts of a graph's file with something in its first model's weights changed."""
    with zipfile.ZipFile(io.BytesIO(parts["models/0.keras"])) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(inside["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        change(file)
    buffer = io.BytesIO()
    write_zip(buffer, {**inside, "model.weights.h5": weights.getvalue()})
    return {**parts, "models/0.keras": buffer.getvalue()}


def spoil_weights(value):
    def change(file):
        for name, dataset in list(hdf5.datasets(file, 10**9)):
            if dataset.dtype.kind == "f" and dataset.ndim:
                file[name][...] = value

    return change


@pytest.mark.parametrize("change", [spoil_weights(np.nan), spoil_weights(-1.0), two_links_each])
def test_bad_weights_are_refused(change, chain, tmp_path):
    path = write_zip(tmp_path / "bad.kserket", with_weights(chain, change))
    with pytest.raises(ValueError, match="bad.kserket cannot be loaded"):
        srk.load_graph(path)


BOMBS = """
    import io, resource, sys, time, zipfile
    import h5py
    import kserket as srk

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def parts_of(data):
        with zipfile.ZipFile(data) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def zipped(parts):
        with zipfile.ZipFile(data := io.BytesIO(), "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, part)
        return data.getvalue()

    good = parts_of("good.kserket")
    srk.load_graph("good.kserket")
    model = parts_of(io.BytesIO(good["models/0.keras"]))
    config = model["config.json"].decode()
    assert '"num_components": 2' in config and '"input_shape": [null, 2]' in config
    def of_config(old, new):
        changed = {**model, "config.json": config.replace(old, new)}
        return lambda: {**good, "models/0.keras": zipped(changed)}
    cases = {
        "components": of_config('"num_components": 2', '"num_components": 30000000'),
        "features": of_config('"input_shape": [null, 2]', '"input_shape": [null, 20000]'),
        "members": lambda: {**good, **{f"models/{n}.keras": b"" for n in range(1, 60_000)}},
    }
    for name, make in cases.items():
        with open("bad.kserket", "wb") as file:
            file.write(zipped(make()))
        before, start = peak(), time.process_time()
        try:
            srk.load_graph("bad.kserket")
            print(name, "loaded")
        except ValueError as error:
            assert "bad.kserket cannot be loaded" in str(error), error
            assert peak() - before < 200, (name, peak() - before)
            print(name, "refused")
"""


def test_small_files_take_little_memory(tmp_path):
    graph = mixture_graph()
    graph.fit(1, verbose=0)
    graph.save("good.kserket")
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BOMBS)], capture_output=True, text=True, timeout=1200
    )
    assert child.returncode == 0, child.stderr[-2000:]
    assert child.stdout.split("\n")[:-1] == [
        f"{name} refused" for name in ("components", "features", "members")
    ]


# Where a loaded graph writes ---------------------------------------------------------------


@pytest.mark.parametrize("place", ["secret.txt", "a/secret.txt", "../secret.txt", "/{}/secret.txt"])
def test_a_file_does_not_say_where_to_write(place, tmp_path, monkeypatch):
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    monkeypatch.chdir(home)
    saver = utils.TextSaver(place.format(home))
    gmm1 = gmm.GMM(2, itr=1, n_init=1, save_dir=home / "results")
    saver.connect(srk.Observation(X))
    gmm1.connect(saver)
    srk.Graph(gmm1, seed=0).save(work / "graph.kserket")
    monkeypatch.chdir(work)

    def files():
        return {path for path in tmp_path.rglob("*") if path.is_file()}

    before = files()
    srk.load_graph("graph.kserket").fit(1, verbose=0)
    assert files() == before
    srk.load_graph("graph.kserket", save_dir="mine").fit(1, verbose=0)
    new = files() - before
    assert new and all(path.is_relative_to(work / "mine") for path in new)
    assert "secret.txt" in {path.name for path in new}


# Files of earlier versions -----------------------------------------------------------------


def test_a_graph_of_the_first_format_loads():
    graph = srk.load_graph(FILES / "graph.kserket")
    np.testing.assert_allclose(graph.predict(X), np.load(FILES / "predicted.npy"), atol=1e-4)
    graph.fit(1, verbose=0)
    assert graph.round == 3


def test_parameters_of_the_first_format_are_taken():
    obs = srk.Observation(X)
    vae1 = vae.VAE(
        2,
        likelihood="gaussian",
        hidden_encoder_dim=3,
        hidden_decoder_dim=3,
        mode="recog",
        save_dir=None,
        load_dir=FILES / "run" / "module001_vae",
    )
    gmm1 = gmm.GMM(2, mode="recog", save_dir=None, load_dir=FILES / "run" / "module002_gmm")
    mm1 = mm.MarkovModel(mode="recog", save_dir=None, load_dir=FILES / "run" / "module003_mm")
    vae1.connect(obs)
    gmm1.connect(vae1)
    mm1.connect(gmm1)
    srk.Graph(mm1, seed=0).fit(1, verbose=0)
    assert np.isfinite(mm1.posterior).all()
