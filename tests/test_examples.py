"""Runs every example as a user would, at its `--quick` size, on its own data and on others."""

import importlib.util
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf

import kserket as srk

ROOT = pathlib.Path(__file__).parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
# They make what they learn from, or take it from a package.
NEEDS = {"dask_cluster.py": "distributed"}  # an extra
OWN_DATA = {
    "dask_cluster.py",
    *("movements.py", "naming_game.py", "naming_game_processes.py", "new_words.py"),
    "number_recognition.py",
    *("poisson_family.py", "serving.py", "user_module.py", "vae_gmm_nn.py"),
}


def test_examples_are_found():
    assert EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name, tmp_path):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    run = subprocess.run(
        [sys.executable, ROOT / "examples" / name, "--quick"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip(), f"{name} printed nothing"


def some_data(name):
    """Data of one's own for an example: arrays by name, as its `--data` reads them."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    counts = {
        size: rng.poisson(0.5 + 3.0 * np.eye(3)[labels].repeat(size, axis=1)) for size in (2, 3)
    }
    if name == "getting_started":
        return {"words": counts[2], "touch": counts[3], "labels": labels}
    if name == "hmm":
        points = 4.0 * np.eye(3)[labels] + rng.normal(size=(60, 3))
        return {"points": points, "states": labels, "lengths": [20, 40]}
    if name == "mmlda":
        senses = {"vision": counts[2], "touch": counts[3], "joints": counts[2]}
        return senses | dict.fromkeys(("thing", "movement", "action"), labels)
    patterns = rng.integers(2, size=(3, 16))  # images of 4 x 4
    images = np.abs(patterns[labels] - 0.1 * rng.random((60, 16)))
    return {"images": images, "speech": counts[3], "labels": np.arange(60) % 10}


def load_example(name):
    """The example as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in OWN_DATA])
def test_example_takes_other_data(name, capsys):
    name = name.removesuffix(".py")
    np.savez("data.npz", **some_data(name))
    load_example(name).main(["--data", "data.npz", "--quick"])
    assert "60 " in capsys.readouterr().out.splitlines()[0]


def test_parts_on_dask_learn_what_one_process_learns(tmp_path):
    distributed = pytest.importorskip("distributed")
    example = load_example("dask_cluster")
    threads = {"threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(n_workers=2, **threads) as cluster:
        with distributed.Client(cluster) as client:
            found = example.run(client, tmp_path, 600, epochs=6)
            assert len(client.scheduler_info()["workers"]) == 1  # one has left
    assert found.keys() == {"mixture", "topics"}
    assert max(found.values()) < 1e-9


def test_a_hidden_markov_model_of_few_points_and_rounds(capsys):
    hmm = load_example("hmm")
    hmm.main(["--num-steps", "2", "--sequences", "2", "--rounds", "2", "--seeds", "0"])
    assert "GMM + MM" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        hmm.main(["--rounds", "1"])
    assert "2 at least" in capsys.readouterr().err


def test_the_template_of_a_family_predicts_compiled_and_is_served(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    x = rng.poisson(0.5 + 4.0 * np.eye(3)[labels]).astype("float64")
    poisson = load_example("poisson_family").PoissonMixture(3, save_dir=None)
    poisson.connect(srk.Observation(x, name="counts"))
    graph = srk.Graph(poisson, seed=0)
    graph.fit(rounds=1, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a rule that differs from infer() would warn
        expected = graph.predict(x)
    assert srk.metrics.clustering_accuracy(labels, expected.argmax(axis=1)) > 0.9
    graph.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served")).signatures
    found = served["classify"](counts=tf.constant(x, "float32"))["poisson"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    drawn = served["generate"](component=tf.constant([0, 1]), seed=tf.constant(3))["counts"]
    assert drawn.shape == (2, 3)


def test_the_template_of_a_family_is_short_and_has_everything(tmp_path):
    source = pathlib.Path(load_example("poisson_family").__file__).read_text(encoding="utf-8")
    family = source.partition("def main(")[0]
    assert len([line for line in family.splitlines() if line.strip()]) < 150

    labels = np.arange(60) % 3
    x = np.random.default_rng(0).poisson(0.5 + 4.0 * np.eye(3)[labels]).astype("float64")
    x[5] = np.nan
    poisson = load_example("poisson_family").PoissonMixture(3, category=labels, save_dir=tmp_path)
    poisson.connect(srk.Observation(x, name="counts", allow_missing=True))
    graph = srk.Graph(poisson, seed=0)
    history = graph.fit(rounds=1, verbose=0).history
    assert history["poisson/accuracy"][-1] > 0.9
    files = {path.name for path in poisson.folder.iterdir()}
    assert files >= {"parameters.h5", "Pdz_learn.txt", "acc_learn.txt"}
    assert poisson.get_forward_msg().missing[5]
    answers = graph.predict(x)
    np.testing.assert_allclose(answers[5], poisson.model.shares.numpy(), atol=1e-9)
    graph.save(tmp_path / "counts.kserket")
    again = srk.load_graph(tmp_path / "counts.kserket")
    np.testing.assert_array_equal(again.predict(x), answers)
