"""Pictures of topics and modalities."""

import numpy as np
import pytest
from matplotlib import pyplot

import kserket as srk
from kserket import gmm, mlda, plotting

TOPICS = np.array([[0.35, 0.30, 0.05, 0.30], [0.35, 0.05, 0.60, 0.0]])
TOGETHER = np.eye(2)[[0, 0, 1, 1]]


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def graph():
    """A topic model over a mixture of points, and words that name the first half of them."""
    points = srk.datasets.make_mixture(60, 2, 2, separation=8.0, seed=0)
    words = np.where(np.arange(60)[:, None] < 30, 4.0 * np.eye(2)[points.y] + 1.0, np.nan)
    words[0] = [1.0, 9.0] if points.y[0] == 0 else [9.0, 1.0]
    below = gmm.GMM(2, n_init=1, name="eye", save_dir=None)
    top = mlda.MLDA(2, n_init=1, save_dir=None)
    below.connect(srk.Observation(points.x, "points"))
    top.connect(below, srk.Observation(words, "words", allow_missing=True))
    graph = srk.Graph(top, seed=0)
    graph.fit(2, verbose=0)
    return graph


def texts(ax):
    return [text.get_text() for text in ax.texts]


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_words_are_ordered_by_relevance():
    words = ["the", "cat", "dog", "milk"]
    (ax,) = plotting.plot_topics(TOPICS, num_words=2, words=words)
    # log p - 0.4 log of its mean: milk -0.45, cat -0.51, the -0.63; dog -0.06, the -0.63
    assert texts(ax) == ["milk\n.30", "cat\n.30", "dog\n.60", "the\n.35"]
    assert ticks(ax.yaxis) == ["0", "1"] and ticks(ax.xaxis) == ["1", "2"]
    axes = plotting.plot_topics([TOPICS, TOPICS[:, :2] / TOPICS[:, :2].sum(1, keepdims=True)])
    assert [len(texts(ax)) for ax in axes] == [8, 4]
    assert [ax.get_title(loc="left") for ax in axes] == ["modality 0", "modality 1"]
    assert texts(axes[0])[0] == "3\n.30"
    _, mine = pyplot.subplots(2, 1)
    assert (plotting.plot_topics([TOPICS, TOPICS], names=["a", "b"], axes=mine) == mine).all()


def test_topics_of_a_graph_a_module_and_a_model(graph):
    for source in (graph, graph["mlda"], graph["mlda"].model):
        axes = plotting.plot_topics(source, words=[None, ["yes", "no"]])
        assert len(axes) == 2
        assert {text.split("\n")[0] for text in texts(axes[0])} == {"0", "1"}
        assert {text.split("\n")[0] for text in texts(axes[1])} == {"yes", "no"}
    assert plotting.plot_topics(graph)[0].get_title(loc="left") == "eye"


def test_modalities_stand_beside_what_all_say():
    sure, silent = TOGETHER, np.full((4, 2), 0.5)
    seen_once = np.where(np.arange(4)[:, None] == 3, TOGETHER[::-1], np.nan)
    ax = plotting.plot_modalities([sure, silent, seen_once], TOGETHER, names=["a", "b", "c"])
    assert texts(ax) == ["1.0", "1.0", "1.0", ".50", "1.0", ".00", ".00", ".00"]
    assert ticks(ax.yaxis) == ["a\n1.0 bits", "b\n0.0 bits", "c\n1.0 bits"]
    assert ticks(ax.xaxis) == ["all", "0", "1"]
    _, mine = pyplot.subplots()
    assert plotting.plot_modalities([sure], TOGETHER, ax=mine) is mine


def test_modalities_of_a_graph_count_where_they_were_observed(graph):
    ax = plotting.plot_modalities(graph)
    top, words = graph["mlda"], graph["words"].data
    eye = top.model.predict([graph["eye"].get_forward_msg(), None])
    said = np.where(np.isnan(words), np.nan, top.model.predict([None, words]))
    drawn = plotting.plot_modalities([eye, said], top.posterior, names=["eye", "words"])
    assert texts(ax) == texts(drawn) and len(texts(ax)) == 6
    assert ticks(ax.yaxis) == ticks(drawn.yaxis)
    assert [name.split("\n")[0] for name in ticks(ax.yaxis)] == ["eye", "words"]


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: plotting.plot_topics(2 * TOPICS), "Modality 0 needs probabilities"),
        (lambda: plotting.plot_topics(TOPICS, words=["a"]), "name the 4 words.*Received: 1"),
        (lambda: plotting.plot_topics([TOPICS] * 2, words=["a"]), "each of 2 modalities"),
        (lambda: plotting.plot_topics(TOPICS, names=["a", "b"]), "must hold 1 names"),
        (lambda: plotting.plot_topics(TOPICS, num_words=0), "num_words"),
        (lambda: plotting.plot_topics([TOPICS] * 2, axes=pyplot.subplots()[1]), "as many Axes"),
        (lambda: plotting.plot_topics(gmm.GMM(2, save_dir=None)), "no mlda.MLDA here has learned"),
        (lambda: plotting.plot_modalities([TOGETHER]), "`posterior`"),
        (lambda: plotting.plot_modalities([TOGETHER[:2]], TOGETHER), "shape of `posterior`"),
        (lambda: plotting.plot_modalities([2 * TOGETHER], TOGETHER), "Modality 0 needs"),
        (lambda: plotting.plot_modalities(mlda.MLDA(2, save_dir=None)), "Call fit"),
    ],
)
def test_what_cannot_be_drawn(draw, said):
    with pytest.raises(ValueError, match=said):
        draw()
