"""Sequences: a mixture under a Markov chain, beside hmmlearn; change points, beside ruptures.

    python benchmarks/sequences.py
    python benchmarks/sequences.py --sets 16 --only order
    python benchmarks/sequences.py --sets 3 --only changes times

`order`: four overlapping Gaussians in two dimensions, in an order that stays (.925), goes round, or
mixes both, at three separations. Each set has 1,000 steps to learn from, 1,000 held out. Accuracy
is that of the most probable path, classes matched; likelihoods are in nats a step. The true
parameters, hmmlearn that starts from them, hmmlearn (full covariances, best of five starts by
likelihood), the default graph and `MarkovModel(joint=True)` see the same sets. `reports`:
categorical reports of four states, beside `CategoricalHMM`, best of five. `changes`: change points
of a simulated motion, beside ruptures with the true number of changes; "poisson" and "binomial" are
the joint graph with `duration="poisson"` and `"negative_binomial"`, "likeliest" is the graph of the
highest log p(x). `times`: CPU ms of passes of one chain, and of what a user calls, medians; and the
median ratio to hmmlearn's, called in turn, five pairs for each of `--sets`, one thread.

hmmlearn and ruptures run where they are installed (`pip install hmmlearn ruptures`).
"""

import argparse
import functools
import importlib.util
import logging
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: threads pinned alike for all
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402

import kserket as srk  # noqa: E402
from kserket import gmm, mm  # noqa: E402
from kserket.inference import markov_chain  # noqa: E402
from kserket.metrics import clustering_accuracy  # noqa: E402

SEPARATIONS = 0.7, 1.0, 2.0
ORDERS = "staying", "cyclic", "mixed"
SIZES = (200_000, 4, 1), (200_000, 10, 1), (200_000, 4, 1000), (1000, 4, 1)
IMPLEMENTATIONS = "log", "scaling"  # of hmmlearn, whose default is the first
PAIRS = 5  # of calls for each of `--sets`
PARTS = "order", "reports", "changes", "times"
K, STEPS = 4, 1000
HAS_HMMLEARN = importlib.util.find_spec("hmmlearn") is not None
HAS_RUPTURES = importlib.util.find_spec("ruptures") is not None


def transitions_of(order):
    """P(next state = column | state = row), (K, K)."""
    stays, follows = np.eye(K), np.roll(np.eye(K), 1, axis=1)
    mixed = np.where((np.arange(K) % 2 == 0)[:, None], stays, follows)
    return 0.1 / K + 0.9 * {"staying": stays, "cyclic": follows, "mixed": mixed}[order]


def gaussians(seed, separation, order):
    """Parameters, and two sequences of steps (N, 2) and states (N,)."""
    rng = np.random.default_rng(seed)
    transitions = transitions_of(order)
    means = separation * rng.normal(size=(K, 2))
    factors = rng.normal(size=(K, 2, 2))
    covariances = factors @ factors.swapaxes(1, 2) / 2 + 0.3 * np.eye(2)
    roots = np.linalg.cholesky(covariances)
    states = markov_chain.sample(np.full(K, 1 / K), transitions, [STEPS, STEPS], rng)
    x = means[states] + np.einsum("nij,nj->ni", roots[states], rng.normal(size=(2 * STEPS, 2)))
    parts = (x[:STEPS], states[:STEPS]), (x[STEPS:], states[STEPS:])
    return (means, covariances, transitions), *parts


def truth(parameters, x):
    """The most probable path under the true parameters, and log p(x) a step."""
    from scipy.stats import multivariate_normal

    means, covariances, transitions = parameters
    pairs = zip(means, covariances, strict=True)
    logs = np.stack([multivariate_normal(*pair).logpdf(x) for pair in pairs], axis=1)
    chain = np.full(K, 1 / K), transitions
    log_likelihood = markov_chain.smooth(logs, *chain).log_likelihood
    return markov_chain.most_likely_path(logs, *chain)[0], log_likelihood / len(x)


def graph_of(x, seed, joint, **options):
    """A fitted graph of a mixture and a chain."""
    mixture = gmm.GMM(K, save_dir=None)
    chain = mm.MarkovModel(joint=joint, save_dir=None, **options)
    mixture.connect(srk.Observation(x))
    chain.connect(mixture)
    graph = srk.Graph(chain, seed=seed)
    graph.fit(2 if joint else 10, verbose=0)
    return graph


def path_of(graph, x, lengths=None):
    """The most probable path."""
    evidence = srk.Categorical.from_log(graph["gmm"].model.component_log_likelihood(x))
    return graph["mm"].model.most_likely_path(evidence, lengths=lengths)


def hmmlearn_of(x, kind="GaussianHMM", **options):
    """hmmlearn's best of five starts by likelihood."""
    from hmmlearn import hmm

    runs = [
        getattr(hmm, kind)(K, n_iter=200, random_state=start, **options).fit(x)
        for start in range(5)
    ]
    return max(runs, key=lambda run: run.score(x))


def hmmlearn_from(parameters, x):
    """hmmlearn's end from the true parameters: what the steps tell of them, without a search."""
    from hmmlearn.hmm import GaussianHMM

    model = GaussianHMM(K, "full", n_iter=200, init_params="")
    model.startprob_ = np.full(K, 1 / K)
    model.means_, model.covars_, model.transmat_ = parameters
    return model.fit(x)


def timed(function, *arguments, **options):
    """What a call returns, and its CPU seconds."""
    begin = time.process_time()
    result = function(*arguments, **options)
    return result, time.process_time() - begin


def order(sets, first):
    """Accuracy and likelihood of states, held-out too, and time."""
    others = ["from true", "hmmlearn"] if HAS_HMMLEARN else []
    names = ["true", *others, "default", "joint"]
    print(f"{'':14}{'':10}" + f"{'accuracy':>16}{'held out':>16}{'log-lik. held out':>20}{'s':>7}")
    for separation in SEPARATIONS:
        for kind in ORDERS:
            rows = {name: [] for name in names}
            for seed in range(first, first + sets):
                parameters, (x, states), (new, new_states) = gaussians(seed, separation, kind)
                for name in names:
                    rows[name].append(_scores(name, parameters, x, states, new, new_states, seed))
            for name, values in rows.items():
                mean, spread = np.mean(values, axis=0), np.std(values, axis=0)
                cells = [f"{m:.3f} +- {s:.3f}" for m, s in zip(mean, spread, strict=True)]
                label = f"{separation} {kind}" if name == "true" else ""
                print(
                    f"{label:14}{name:10}{cells[0]:>16}{cells[1]:>16}{cells[2]:>20}{mean[3]:7.2f}"
                )


def _scores(name, parameters, x, states, new, new_states, seed):
    """Accuracy, held-out accuracy, held-out log-likelihood a step, seconds."""
    seconds = 0.0
    if name == "true":
        (path, _), (new_path, score) = truth(parameters, x), truth(parameters, new)
    elif name in ("hmmlearn", "from true"):
        if name == "hmmlearn":
            model, seconds = timed(hmmlearn_of, x, covariance_type="full")
        else:
            model, seconds = timed(hmmlearn_from, parameters, x)
        path, new_path, score = model.predict(x), model.predict(new), model.score(new) / len(new)
    else:
        graph, seconds = timed(graph_of, x, seed, name == "joint")
        path, new_path = path_of(graph, x), path_of(graph, new)
        score = graph.evaluate(new)["log_likelihood"]
    accuracies = clustering_accuracy(states, path), clustering_accuracy(new_states, new_path)
    return *accuracies, score, seconds


def reports(sets, first):
    """States behind categorical reports."""
    names = ["true", *(["hmmlearn"] if HAS_HMMLEARN else []), "kserket"]
    for kind in ORDERS:
        rows = {name: [] for name in names}
        for seed in range(first, first + sets):
            rng = np.random.default_rng(seed)
            chain = np.full(K, 1 / K), transitions_of(kind)
            table = 0.25 * rng.dirichlet(np.ones(K), K) + 0.75 * np.eye(K)
            states = markov_chain.sample(*chain, [STEPS], rng)
            heard = (rng.random((STEPS, 1)) > np.cumsum(table[states], axis=1)).sum(axis=1)
            heard = heard.clip(0, K - 1)
            log_table = np.log(table[:, heard].T)
            paths = {"true": (markov_chain.most_likely_path(log_table, *chain)[0], 0.0)}
            if HAS_HMMLEARN:
                model, seconds = timed(hmmlearn_of, heard[:, None], "CategoricalHMM", n_features=K)
                paths["hmmlearn"] = model.predict(heard[:, None]), seconds
            model = srk.MarkovChain(K, seed=seed)
            x = np.eye(K)[heard]
            _, seconds = timed(model.fit, x, verbose=0)
            paths["kserket"] = model.most_likely_path(x), seconds
            for name, (path, seconds) in paths.items():
                rows[name].append((clustering_accuracy(states, path), seconds))
        for name, values in rows.items():
            mean, spread = np.mean(values, axis=0), np.std(values, axis=0)
            label = kind if name == "true" else ""
            print(f"{label:14}{name:10}{mean[0]:10.3f} +- {spread[0]:.3f}{mean[1]:7.2f}")


def changes(sets, first):
    """F1 of change points within five steps, of a motion that goes from place to place."""
    graphs = {
        "default": {"joint": False},
        "joint": {"joint": True},
        "poisson": {"joint": True, "duration": "poisson"},
        "binomial": {"joint": True, "duration": "negative_binomial"},
    }
    rows = {name: [] for name in ["ruptures"] * HAS_RUPTURES + [*graphs, "likeliest"]}
    for seed in range(first, first + sets):
        rng = np.random.default_rng(seed)
        states, lasts = [], 10 + rng.poisson(25, size=20)
        for length in lasts:
            others = [k for k in range(K) if not states or k != states[-1]]
            states += [int(rng.choice(others))] * int(length)
        states = np.array(states)
        x = rng.normal(size=(K, 2))[states] + 0.7 * rng.normal(size=(len(states), 2))
        true = np.flatnonzero(np.diff(states)) + 1
        if HAS_RUPTURES:
            import ruptures

            found = ruptures.KernelCPD(kernel="rbf").fit(x).predict(n_bkps=len(true))[:-1]
            rows["ruptures"].append(_f1(true, np.array(found, int)))
        best = -np.inf, 0.0
        for name, options in graphs.items():
            graph = graph_of(x, seed, **options)
            path, log_likelihood = path_of(graph, x), graph.evaluate(x)["log_likelihood"]
            rows[name].append(_f1(true, np.flatnonzero(np.diff(path)) + 1))
            best = max(best, (log_likelihood, rows[name][-1]))
        rows["likeliest"].append(best[1])
    for name, values in rows.items():
        print(f"{name:10}{np.mean(values):8.3f} +- {np.std(values):.3f}")


def _f1(true, found, within=5):
    """F1 of change points, each matched to one of the other."""
    from scipy.optimize import linear_sum_assignment

    near = np.abs(true[:, None] - found) <= within
    hits = near[linear_sum_assignment(near, maximize=True)].sum() if near.size else 0
    return 2 * hits / (len(true) + len(found))


def times(sets, first):
    """CPU time beside hmmlearn's: of passes, and of what a user calls."""
    names = [f"hmmlearn, {name}" for name in IMPLEMENTATIONS] if HAS_HMMLEARN else []
    for num_steps, num_states, num_sequences in SIZES:
        sizes = np.full(num_sequences, num_steps // num_sequences)
        print(f"-- {num_sequences} x {sizes[0]} steps, {num_states} states", flush=True)
        print(f"{'':26}{'ms':>9}" + "".join(f"   ms / {name:18}" for name in names))
        for part in (_passes, _categorical, _gaussian):
            rng = np.random.default_rng(first)
            for name, ours, theirs in part(num_states, sizes, rng):
                pairs = [_paired(ours, one, sets * PAIRS) for one in theirs]
                mine = pairs[0][1] if pairs else _paired(ours, ours, sets * PAIRS)[1]
                cells = "".join(f"   {ratio:4.2f} of {ms:8.2f}       " for ratio, _, ms in pairs)
                print(f"{part.__name__[1:]:12}{name:14}{mine:9.2f}{cells}", flush=True)


def _paired(ours, theirs, number):
    """Median of ratios and of both CPU times in ms, one after the other."""
    seconds = [(timed(ours)[1], timed(theirs)[1]) for _ in range(number + 1)][1:]
    mine, other = np.transpose(seconds)
    return np.median(mine / np.maximum(other, 1e-9)), *(1000 * np.median(seconds, axis=0))


def _passes(num_states, sizes, rng):
    """The functions within, on log evidence."""
    logs = 2.0 * rng.normal(size=(sizes.sum(), num_states))
    chain = np.full(num_states, 1 / num_states), rng.dirichlet(np.ones(num_states), num_states)
    parts = np.split(logs, np.cumsum(sizes)[:-1])

    def viterbi():
        return [_hmmc.viterbi(*chain, part) for part in parts]

    def both_ways(kind):
        for part in parts:
            part = np.exp(part) if kind == "scaling" else part
            forwards = getattr(_hmmc, f"forward_{kind}")(*chain, part)[1:]
            onward = getattr(_hmmc, f"backward_{kind}")(*chain, part, *forwards[1:])
            if kind == "scaling":
                weights = forwards[0] * onward
                weights /= weights.sum(axis=1, keepdims=True)
            else:
                weights = np.exp(markov_chain.normalize(forwards[0] + onward))

    theirs = []
    if HAS_HMMLEARN:
        from hmmlearn import _hmmc

        theirs = [lambda kind=kind: both_ways(kind) for kind in IMPLEMENTATIONS]
    viterbis = [viterbi] if theirs else []
    yield "Viterbi", lambda: markov_chain.most_likely_path(logs, *chain, sizes), viterbis
    yield "both ways", lambda: markov_chain.smooth(logs, *chain, sizes), theirs


def _categorical(num_states, sizes, rng):
    """`MarkovChain` on class probabilities, and `CategoricalHMM` on classes."""
    heard = rng.integers(num_states, size=sizes.sum())
    x = np.eye(num_states)[heard]
    model = srk.MarkovChain(num_states, n_init=1, tolerance=None, seed=0)
    model.fit(x, lengths=sizes, epochs=1, verbose=0)
    parameters = {
        "startprob_": model.initial_distribution,
        "transmat_": model.transition_matrix,
        "emissionprob_": model.reports,
    }
    others = _hmmlearns("CategoricalHMM", num_states, parameters, n_features=num_states)
    yield from _doors(
        others,
        (heard[:, None], sizes),
        predict=lambda: model.most_likely_path(x, lengths=sizes),
        predict_proba=lambda: model.predict(x, lengths=sizes),
        score=lambda: model.log_likelihood(x, lengths=sizes).sum(),
        fit=lambda: model.fit(x, lengths=sizes, epochs=1, verbose=0),
    )


def _gaussian(num_states, sizes, rng):
    """A graph of a mixture and a chain, learned together, and `GaussianHMM`."""
    means = rng.normal(size=(num_states, 2))
    x = 2.0 * means[np.arange(sizes.sum()) // 20 % num_states] + rng.normal(size=(sizes.sum(), 2))
    mixture = gmm.GMM(num_states, itr=1, save_dir=None)
    chain = mm.MarkovModel(joint=True, n_init=1, lengths=sizes, save_dir=None)
    mixture.connect(srk.Observation(x))
    chain.connect(mixture)
    graph = srk.Graph(chain, seed=0)
    graph.fit(1, verbose=0)
    parameters = {
        "startprob_": chain.model.initial_distribution,
        "transmat_": chain.model.transition_matrix,
        "means_": mixture.model.means,
        "covars_": mixture.model.covariances,
    }
    others = _hmmlearns("GaussianHMM", num_states, parameters, covariance_type="full")
    yield from _doors(
        others,
        (x, sizes),
        predict=lambda: path_of(graph, x, sizes),
        predict_proba=lambda: graph.predict(x),
        score=lambda: graph.evaluate(x)["log_likelihood"],
        fit=lambda: graph.fit(1, verbose=0),
    )


def _hmmlearns(kind, num_states, parameters, **options):
    """Models of hmmlearn with these parameters, of which `fit` does one iteration."""
    if not HAS_HMMLEARN:
        return []
    from hmmlearn import hmm

    options = {"n_iter": 1, "init_params": "", **options}
    models = [
        getattr(hmm, kind)(num_states, implementation=name, **options) for name in IMPLEMENTATIONS
    ]
    for model in models:
        for name, value in parameters.items():
            setattr(model, name, value)
    return models


def _doors(models, arguments, **calls):
    """Calls beside those of the same name of hmmlearn's models."""
    for name, ours in calls.items():
        theirs = [functools.partial(getattr(model, name), *arguments) for model in models]
        yield name, ours, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sets", type=int, default=2, help="data sets in each setting")
    parser.add_argument("--first", type=int, default=0, help="seed of the first set")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # hmmlearn tells of each start that falls
    for part in options.only:
        print(f"== {part}", flush=True)
        globals()[part](options.sets, options.first)


if __name__ == "__main__":
    main()
