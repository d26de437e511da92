"""Warnings of classes that were asked for and hold no sample."""

import warnings

import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mlda

POINTS = np.repeat([[0.0, 1.0], [5.0, -2.0]], 20, axis=0)  # two, which no mixture can divide
WORDS = np.repeat([[9, 1, 0], [0, 2, 7]], 20, axis=0)


def over(module, data=POINTS):
    """A module that reads data, in a graph."""
    module.connect(srk.Observation(data))
    return srk.Graph(module, seed=0)


def advice(call, *args, **options):
    """What is warned of in a call, a list of texts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*args, **options)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("start", [gmm.GMM, mlda.MLDA])
def test_each_fit_and_an_update_alone_warn(start):
    module = start(5, itr=5, n_init=1, save_dir=None)
    graph = over(module, POINTS if start is gmm.GMM else WORDS)
    for rounds in (1, 3):
        (text,) = advice(graph.fit, rounds, verbose=0)
        assert text.startswith(module.get_name())
        assert "5 classes, and samples lie in 2 of them" in text
        assert "docs/faq.md" in text
    assert advice(graph.fit, 0, verbose=0) == []
    assert len(advice(module.update)) == 1
    assert advice(module.update) == []  # once in a module's life
    module.mode = "recog"
    assert advice(graph.fit, 1, verbose=0) == []


@pytest.mark.parametrize(
    "module",
    [
        lambda: gmm.GMM(None, n_init=1, save_dir=None),
        lambda: gmm.GMM(5, sparse=True, n_init=1, save_dir=None),
        lambda: gmm.GMM(5, weight_concentration=0.1, n_init=1, save_dir=None),
        lambda: gmm.GMM(5, init="prior", save_dir=None),
        lambda: gmm.GMM(2, n_init=1, save_dir=None),
        lambda: mlda.MLDA(None, n_init=1, save_dir=None),
        lambda: mlda.MLDA(5, alpha=0.1, n_init=1, save_dir=None),
    ],
)
def test_where_empty_classes_are_meant_to_be_nothing_is_said(module):
    module = module()
    graph = over(module, WORDS if isinstance(module, mlda.MLDA) else POINTS)
    assert [text for text in advice(graph.fit, 2, verbose=0) if "classes" in text] == []


def test_more_classes_than_samples_are_warned_of():
    graph = over(gmm.GMM(5, n_init=1, save_dir=None), np.array([[0.0, 1.0], [5.0, -2.0]]))
    (text,) = advice(graph.fit, 1, verbose=0)
    assert "was asked for 5 classes, more than there are samples" in text


def test_latent_variables_are_named_only_where_there_are_any():
    top = gmm.GMM(2, n_init=1, save_dir=None)
    graph = over(top)
    graph.fit(1, verbose=0)
    assert "latent" not in top.advice(1, 100)
    top.inputs[0].mailbox.forward = srk.Gaussian(POINTS, np.ones_like(POINTS))
    assert "KL_param" in top.advice(1, 100)


def test_a_warning_points_to_the_line_that_called():
    graph = over(gmm.GMM(5, n_init=1, save_dir=None), np.array([[0.0, 1.0], [5.0, -2.0]]))
    top = graph["gmm"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph.fit(1, verbose=0)
        top.update()
    assert [warning.filename for warning in caught] == [__file__] * len(caught) and len(caught) == 2


def counts(monkeypatch, live, kind=gmm.GMM):
    """Lets modules count these numbers of live classes, one after another."""
    numbers = iter(live)

    def count_live(module, inference):
        module._live = (next(numbers), len(inference.posterior))
        return module._live[0]

    monkeypatch.setattr(kind, "count_live", count_live)


@pytest.mark.parametrize(("live", "said"), [([1, 2, 5], 0), ([5, 5, 3], 1), ([5, 5, 1], 1)])
def test_only_the_last_round_counts(monkeypatch, live, said):
    counts(monkeypatch, live)
    texts = advice(over(gmm.GMM(5, n_init=1, save_dir=None)).fit, 3, verbose=0)
    assert len(texts) == said
    assert not texts or ("one class only" if live[-1] == 1 else "3 of them") in texts[0]


def test_a_loop_of_updates_warns_of_one_class_only(monkeypatch):
    counts(monkeypatch, [3, 1, 1], mlda.MLDA)
    below, top = gmm.GMM(2, n_init=1, save_dir=None), mlda.MLDA(5, n_init=1, save_dir=None)
    below.connect(srk.Observation(POINTS))
    top.connect(below)
    below.update()
    assert advice(top.update) == []
    (text,) = advice(top.update)
    assert "1 of them" in text and advice(top.update) == []


def test_starts_that_are_compared_do_not_warn():
    below, top = (kind(5, itr=5, n_init=1, save_dir=None) for kind in (gmm.GMM, mlda.MLDA))
    over(below)
    top.connect(below)
    texts = advice(srk.Graph(top, seed=0).fit, 1, n_init=2, verbose=0)
    assert ["gmm was asked" in text or "mlda was asked" in text for text in texts] == [True, True]
