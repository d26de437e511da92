"""Pictures of graphs: parents above children, nothing on another."""

import itertools

import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mlda, mm, vae
from kserket.core.layered_layout import layered_layout

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


def three_inputs():
    """A chain over a topic model that reads three inputs, one of them through two modules."""
    obs, words, touch = (
        srk.Observation(np.ones((9, 4)), name=n) for n in ("images", "words", "touch")
    )
    vae1, gmm1, mlda1, mm1 = vae.VAE(2), gmm.GMM(3), mlda.MLDA(3), mm.MarkovModel()
    vae1.connect(obs)
    gmm1.connect(vae1)
    mlda1.connect(gmm1, words, touch)
    mm1.connect(mlda1)
    return srk.Graph(mm1)


def two_tops():
    """Two mixtures of the same data, two readers of the first."""
    obs, gmm1, gmm2, top, chain = (
        srk.Observation(np.ones((9, 4)), name="data"),
        gmm.GMM(3),
        gmm.GMM(4, name="other"),
        mlda.MLDA(3),
        mm.MarkovModel(),
    )
    gmm1.connect(obs)
    gmm2.connect(obs)
    top.connect(gmm1, gmm2)
    chain.connect(gmm1)
    return srk.Graph(top, chain)


def many_modules():
    """Four views with long names, each through two modules, and words: thirteen boxes."""
    mixtures = []
    for number in range(4):
        member, mixture = vae.VAE(2, name=f"vae{number}"), gmm.GMM(3, name=f"gmm{number}")
        member.connect(srk.Observation(np.ones((9, 4)), name=f"view_of_the_side_{number}"))
        mixture.connect(member)
        mixtures.append(mixture)
    top = mlda.MLDA(3)
    top.connect(*mixtures, srk.Observation(np.ones((9, 5)), name="words"))
    return srk.Graph(top)


def overlap(a, b):
    """Whether two boxes of a picture share more than their edges."""
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1


@pytest.mark.parametrize("make", [three_inputs, two_tops, many_modules])
def test_nothing_lies_on_another_and_readers_stand_above(make):
    graph = make()
    ax = graph.plot()
    ax.figure.draw_without_rendering()
    patches = {type(patch).__name__: [] for patch in ax.patches}
    for patch in ax.patches:
        patches[type(patch).__name__].append(patch)
    boxes = [patch.get_window_extent() for patch in patches["FancyBboxPatch"]]
    labels = [text.get_window_extent() for text in ax.texts if text.get_bbox_patch()]
    assert len(boxes) == len(graph.modules) and len(labels) > len(graph.modules) / 2
    for one, other in itertools.combinations(labels, 2):
        assert not overlap(one, other)
    for label, box in itertools.product(labels, boxes):
        assert not overlap(label, box)
    for arrow in patches["FancyArrowPatch"]:
        path = arrow.get_path().interpolated(20)
        for x, y in ax.transData.transform(path.vertices):
            inside = [b for b in boxes if b.x0 + 1 < x < b.x1 - 1 and b.y0 + 1 < y < b.y1 - 1]
            assert not inside
            for label in labels:  # through the middle of a label, not along it
                if label.x0 < x < label.x1 and label.y0 < y < label.y1:
                    assert abs(x - (label.x0 + label.x1) / 2) < 0.1 * ax.figure.dpi
    heights = {name.get_text(): name.get_position()[1] for name in ax.texts}
    for module in graph.modules:
        for source in module.inputs:
            assert heights[graph.names[module]] > heights[graph.names[source]]


def test_arrows_go_straight_up_a_chain_and_do_not_cross_where_they_need_not():
    levels = {"a": 0, "b": 0, "c": 1, "d": 1}
    places, points = layered_layout(
        levels, [("a", "d"), ("b", "c")], dict.fromkeys(levels, 1.0), [0.5, 0.5], gap=0.2
    )
    assert abs(places["a"] - places["d"]) < 1e-6 and abs(places["b"] - places["c"]) < 1e-6
    assert abs(places["a"] - places["b"]) >= 1.2 - 1e-9
    assert [chain[0][1] for chain in points] == [0.5, 0.5]
