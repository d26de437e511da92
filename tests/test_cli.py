"""The command `kserket`: what it prints, writes and refuses."""

import io
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import kserket as srk
from kserket import bow, gmm, mlda, vae
from kserket.cli import main, write_csv
from kserket.core.prediction import feature_names

X, *_ = srk.datasets.make_mixture(120, 3, 2, seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two graphs saved, one of them exported."""
    folder = tmp_path_factory.mktemp("cli")
    srk.Module.reset_names()
    top = gmm.GMM(3, save_dir=None)
    top.connect(srk.Observation(X, name="points"))
    graph = srk.Graph(top, seed=0)
    graph.fit(rounds=1, verbose=0)
    graph.save(folder / "points.kserket")
    graph.export(folder / "served")
    np.save(folder / "new.npy", X[:5])

    bottom, above = vae.VAE(2, itr=1, save_dir=None), gmm.GMM(3, save_dir=None)
    bottom.connect(srk.Observation(np.clip(X / 10 + 0.5, 0, 1), name="two words"))
    above.connect(bottom)
    other = srk.Graph(above, seed=0)
    other.fit(rounds=1, verbose=0)
    other.save(folder / "other.kserket", include_data=False)
    return folder


def table(text):
    """The numbers of a CSV with a line of names."""
    return np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1, ndmin=2)


def predicted(folder, **options):
    return srk.load_graph(folder / "points.kserket").predict(X[:5], **options)


def test_demo_scores_every_number_of_open_eyes_and_draws(capsys):
    assert main(["demo", "--quick", "--out", "pictures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:12].strip(): line[12:].split() for line in lines if " ± " in line}
    eyes = ["upper left", "upper right", "lower left", "lower right"]
    assert list(rows) == [*eyes, "any two", "any three", "all four"]
    one_way = [float(row[0]) for row in rows.values()]
    assert min(one_way) > 0.2 and max(one_way[:4]) < one_way[-1] <= 1.0
    written = {path.name for path in pathlib.Path("pictures").iterdir()}
    assert written == {"eyes.png", "rounds.png", "graph.png"}


def test_info_shows_modules_data_and_figures(folder, capsys):
    assert main(["info", str(folder / "points.kserket")]) == 0
    shown = capsys.readouterr().out
    assert "gmm (GMM)" in shown and "data of points: (120, 2)" in shown
    assert "gmm/log_likelihood: " in shown


def test_info_of_a_file_without_its_data(folder, capsys):
    assert main(["info", str(folder / "other.kserket")]) == 0
    assert "data of two words: not in the file" in capsys.readouterr().out


def test_predict_prints_what_the_graph_predicts(folder, capsys):
    assert main(["predict", str(folder / "points.kserket"), str(folder / "new.npy")]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == "gmm_0,gmm_1,gmm_2"
    np.testing.assert_array_equal(table(shown), predicted(folder))


@pytest.mark.parametrize("header", ["", "width,height\n", "\ufeffwidth,height\n"])
def test_predict_reads_tables_with_and_without_names(folder, header, capsys, tmp_path):
    rows = "\n".join(",".join(map(repr, row.tolist())) for row in X[:5])
    (tmp_path / "new.csv").write_text(f"{header}{rows}\n,\n", encoding="utf-8")
    arguments = ["predict", str(folder / "points.kserket"), "new.csv", "--classes"]
    assert main([*arguments, "--out", "classes.csv"]) == 0
    found = table((tmp_path / "classes.csv").read_text())
    np.testing.assert_array_equal(found[:5, 0], predicted(folder).argmax(axis=1))
    assert len(found) == 6  # the empty cells are a sample that was not observed
    assert capsys.readouterr().out == ""


def test_predict_writes_arrays_by_name(folder):
    np.savez("new.npz", points=X[:5])
    arguments = ["predict", str(folder / "points.kserket"), "new.npz", "--outputs", "gmm", "points"]
    assert main([*arguments, "--out", "answers.npz"]) == 0
    expected = predicted(folder, outputs=["gmm", "points"])
    with np.load("answers.npz") as answers:
        assert set(answers) == set(expected)
        for name, answer in expected.items():
            np.testing.assert_array_equal(answers[name], answer)


def test_serve_check_asks_every_signature(folder, capsys):
    assert main(["serve-check", str(folder / "served")]) == 0
    shown = capsys.readouterr().out
    for signature in ("classify", "encode", "generate"):
        assert f"{signature}: " in shown


def test_serve_check_compares_with_the_saved_graph(folder, capsys):
    arguments = ["serve-check", str(folder / "served"), "--data", str(folder / "new.npy")]
    assert main([*arguments, "--file", str(folder / "points.kserket")]) == 0
    assert "gmm: as predicted" in capsys.readouterr().out


def test_serve_check_finds_another_graph(folder, capsys):
    graph = srk.load_graph(folder / "points.kserket")
    graph["points"].set_data(X + 3)
    graph.fit(rounds=1, verbose=0)
    graph.save("moved.kserket")
    arguments = ["serve-check", str(folder / "served"), "--data", str(folder / "new.npy")]
    assert main([*arguments, "--file", "moved.kserket"]) == 1
    assert "served otherwise than moved.kserket" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["info", "none.kserket"], "none.kserket"),
        (["info", "text.csv"], "text.csv"),
        (["predict", "{points}", "none.npy"], "none.npy"),
        (["predict", "{points}", "text.csv"], "numbers separated by commas"),
        (["predict", "{points}", "data.txt"], ".npy, .npz or .csv"),
        (["predict", "{points}", "{new}", "--outputs", "mlda"], "no module 'mlda'"),
        (["predict", "{points}", "{new}", "--out", "answer.txt"], "--out"),
        (["serve-check", "."], "saved_model.pb"),
        (["serve-check", "{served}", "--file", "{points}"], "--data"),
    ],
)
def test_errors_are_one_line(folder, arguments, reason, capsys, tmp_path):
    (tmp_path / "text.csv").write_text("a,b\nc,d\n")
    places = {"points": "points.kserket", "new": "new.npy", "served": "served"}
    places = {name: str(folder / file) for name, file in places.items()}
    assert main([argument.format(**places) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"kserket {arguments[0]}: ") and reason in error
    assert error.count("\n") == 1


def test_it_runs_as_a_module(folder):
    command = [sys.executable, "-m", "kserket", "info", str(folder / "points.kserket")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert run.returncode == 0 and "gmm (GMM)" in run.stdout, run.stderr
    assert run.stderr == ""


def test_predict_names_the_columns_of_observations(tmp_path, capsys):
    texts = ["red, red ball", "blue", "blue", "red"] * 3
    top = mlda.MLDA(2, save_dir=None)
    top.connect(bow.BoW(texts, "ear", tokenizer=lambda text: text.split(), save_dir=None))
    graph = srk.Graph(top, seed=0)
    graph.fit(rounds=1, verbose=0)
    counts, words = graph["ear"].data[:2], graph["ear"].words
    assert words == ["red,", "red", "ball", "blue"]
    np.save(tmp_path / "new.npy", counts)
    answers = graph.predict(counts, outputs=["ear", "mlda"])
    columns = {name: feature_names(graph[name], answer) for name, answer in answers.items()}
    with open(tmp_path / "out.csv", "w") as file:
        write_csv(file, answers, columns)
    shown = (tmp_path / "out.csv").read_text()
    assert shown.splitlines()[0] == '"red,",red,ball,blue,mlda_0,mlda_1'
    np.testing.assert_array_equal(table(shown), np.hstack(list(answers.values())))
    pytest.importorskip("pandas")
    assert list(graph.predict(counts, outputs="ear", as_frame=True)) == words
    assert list(graph.predict(counts, as_frame=True)) == ["mlda/0", "mlda/1"]
    drawn = graph.generate(3, component=[0, 1, 0], seed=0, as_frame=True)
    assert list(drawn) == words
    np.testing.assert_array_equal(drawn, graph.generate(3, component=[0, 1, 0], seed=0))
