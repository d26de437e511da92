"""Threads of linear algebra while a model sweeps."""

import keras
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import kserket as srk
from kserket.core import sweep_model


class Watch(keras.callbacks.Callback):
    """Notes how many threads each library of linear algebra may use in a sweep."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def on_epoch_end(self, epoch, logs=None):
        self.seen |= blas_threads()


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


rng = np.random.default_rng(0)
FITS = {
    "mixture": lambda: (srk.GaussianMixture(2, n_init=1), rng.normal(size=(30, 2))),
    "topic model": lambda: (srk.MultimodalLDA(2, n_init=1), rng.integers(0, 4, (30, 5))),
    "chain": lambda: (srk.MarkovChain(2, n_init=1), np.eye(2)[rng.integers(0, 2, 30)]),
}


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("limit, is_limited", [(100, True), (10, False)])
def test_few_rows_are_swept_on_one_thread(kind, limit, is_limited, monkeypatch):
    monkeypatch.setattr(sweep_model, "ROWS_FOR_THREADS", limit)
    model, x = FITS[kind]()
    watch = Watch()
    with threadpool_limits(2, user_api="blas"):
        allowed = blas_threads()
        model.fit(x, epochs=2, callbacks=[watch], verbose=0)
        assert blas_threads() == allowed  # as they were
    assert watch.seen == ({1} if is_limited else allowed)
