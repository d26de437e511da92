"""Pictures of sequences: what is drawn, and what is refused."""

import numpy as np
import pytest
from matplotlib import pyplot

import kserket as srk
from kserket import gmm, mm, plotting

MATRIX = np.array([[0.9, 0.1, 0.0], [0.02, 0.5, 0.48], [0.3, 0.3, 0.4]])
STATES = np.array([0, 0, 0, 2, 2, 1, 1, 1, 1, 0])


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    pyplot.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_a_matrix_states_every_probability_that_counts():
    ax = plotting.plot_transitions(MATRIX, names=["a", "b", "c"], title="t")
    np.testing.assert_array_equal(ax.images[0].get_array(), MATRIX)
    assert texts(ax) == [".90", ".10", ".50", ".48", ".30", ".30", ".40"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]


def test_a_graph_has_an_arrow_for_each_transition_to_another_state():
    ax = plotting.plot_transitions(MATRIX, kind="graph")
    arrows = [text for text in ax.texts if getattr(text, "arrow_patch", None) is not None]
    assert len(arrows) == 4  # 0 -> 1, 1 -> 2, 2 -> 0, 2 -> 1
    assert [text for text in texts(ax) if text.startswith("stays")] == [
        "stays 0.90",
        "stays 0.50",
        "stays 0.40",
    ]


def test_transitions_of_graphs_and_models():
    x = np.random.default_rng(0).normal(size=(40, 2)) + 4 * (np.arange(40) % 2)[:, None]
    gmm1, mm1 = gmm.GMM(2, itr=3, save_dir=None), mm.MarkovModel(itr=3, save_dir=None)
    gmm1.connect(srk.Observation(x))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    with pytest.raises(ValueError, match="transition_matrix"):
        plotting.plot_transitions(graph)
    graph.fit(1, verbose=0)
    for source in (graph, mm1, mm1.model):
        drawn = plotting.plot_transitions(source).images[0].get_array()
        np.testing.assert_array_equal(drawn, mm1.model.transition_matrix)


@pytest.mark.parametrize("data", [None, np.arange(10.0), np.ones((10, 2))])
def test_a_strip_has_a_span_for_each_segment(data):
    ax = plotting.plot_states(STATES, data, lengths=[2, 8])
    assert len(ax.patches) == 5 * (1 if data is None else 2)
    spans = sorted(patch.get_x() for patch in ax.patches)
    assert sorted(set(spans)) == [-0.5, 1.5, 2.5, 4.5, 8.5]
    assert len(ax.lines) == 1 + (0 if data is None else np.ndim(data) if np.ndim(data) == 1 else 2)


def test_every_state_has_its_name_in_the_picture():
    names = ["home", "a corridor with a long name", "bath"]
    wide = plotting.plot_states([0, 0, 0, 2, 2, 2], names=names)
    assert {text.get_text() for text in wide.texts} == {"home", "bath"}
    assert wide.get_legend() is None
    narrow = plotting.plot_states([0, 1] * 30 + [2] * 30, names=names)
    assert [text.get_text() for text in narrow.get_legend().get_texts()] == names


def test_probabilities_that_are_not_sure_are_paler():
    sure = plotting.plot_states(np.eye(3)[STATES]).patches[0].get_facecolor()
    unsure = plotting.plot_states(0.5 * np.eye(3)[STATES] + 0.5 / 3).patches[0].get_facecolor()
    assert unsure[3] < sure[3] == 1.0


def test_a_dot_for_each_segment():
    ax = plotting.plot_durations(STATES, lengths=[2, 8], names=["a", "b", "c"])
    lasts = [part.get_offsets()[:, 1].tolist() for part in ax.collections[::2]]
    assert lasts == [[2.0, 1.0, 1.0], [4.0], [2.0]]


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match="each row"):
        plotting.plot_transitions(np.ones((3, 3)))
    with pytest.raises(ValueError, match="kind"):
        plotting.plot_transitions(MATRIX, kind="tree")
    with pytest.raises(ValueError, match="3 names"):
        plotting.plot_transitions(MATRIX, names=["a"])
    with pytest.raises(ValueError, match="from 0"):
        plotting.plot_states([-1, 0])
    with pytest.raises(ValueError, match="from 0"):
        plotting.plot_durations([0.5, 1])
    with pytest.raises(ValueError, match="a row for each"):
        plotting.plot_states(STATES, np.ones(3))
    with pytest.raises(ValueError, match="lengths"):
        plotting.plot_states(STATES, lengths=[3])
