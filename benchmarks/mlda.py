"""Topic models and Markov models: held-out perplexity, and time of a sweep, beside their peers.

    python benchmarks/mlda.py --path serket_tutorial.npz
    python benchmarks/mlda.py --path serket_tutorial.npz --only scores --seeds 0 1 2 3 4
    python benchmarks/mlda.py --quick

Perplexity is that of document completion: topics are learned from two thirds of the documents; of
each of the others half the words are given, the other half is scored. The proportions of topics
are folded in by one and the same procedure whatever library found the topics, with the same alpha
and beta, which are not learned. Simulated documents mix topics as the model says; spoken digits
are about one thing each, which is what `alpha=0` is for: how well each method sorts them is scored
too, by accuracy, NMI and ARI. There alpha and beta are 0.1 where a method has them, the defaults of
kserket and, for ten topics, of scikit-learn. Labels score and decide nothing.

Times are CPU seconds of a sweep, differences of a long and a short run, one thread, beside the
dense products over the same counts: documents by words by topics, once for the E step and once
for the M step. scikit-learn's `LatentDirichletAllocation`, tomotopy and hmmlearn run in the same
process where they are installed (`pip install tomotopy hmmlearn`).
"""

import argparse
import importlib.util
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: threads pinned alike for all

import numpy as np  # noqa: E402

import kserket as srk  # noqa: E402

ALPHA, BETA = 0.1, 0.05
SORTING_BETA = 0.1
SCORES = ("accuracy", "nmi", "ari")
PARTS = ("scores", "perplexity", "times")


def simulated(seed, num_documents=1500, vocabulary=400, num_topics=10, length=80):
    """Counts (N, V) drawn from the model itself."""
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(vocabulary, BETA), num_topics)
    theta = rng.dirichlet(np.full(num_topics, ALPHA), num_documents)
    return rng.multinomial(length, theta @ topics).astype(float)


def halves(counts, seed):
    """Every word of whole counts (N, V) in one half or the other."""
    given = np.random.default_rng(seed).binomial(counts.astype(int), 0.5).astype(float)
    return given, counts - given


def completion(topics, alpha, given, scored, sweeps=200):
    """Perplexity of `scored` (N, V) after folding `given` in under topics (K, V)."""
    theta = np.full((len(given), len(topics)), 1.0 / len(topics))
    for _ in range(sweeps):
        ratio = given / np.maximum(theta @ topics, 1e-300)
        theta = theta * (ratio @ topics.T) + alpha
        theta /= theta.sum(axis=1, keepdims=True)
    log_probability = (scored * np.log(np.maximum(theta @ topics, 1e-300))).sum()
    return float(np.exp(-log_probability / scored.sum()))


def ours(counts, num_topics, seed, sweeps, beta=BETA, **options):
    model = srk.MultimodalLDA(num_topics, beta=beta, seed=seed, **options)
    return model, lambda: model.fit(counts, epochs=sweeps, verbose=0)


def scikit_learn(counts, num_topics, seed, sweeps, beta=BETA):
    from sklearn.decomposition import LatentDirichletAllocation

    model = LatentDirichletAllocation(
        num_topics,
        doc_topic_prior=ALPHA,
        topic_word_prior=beta,
        max_iter=sweeps,
        random_state=seed,
    )
    return model, lambda: model.fit(counts)


def tomotopy(counts, num_topics, seed, sweeps, beta=BETA):
    import tomotopy

    model = tomotopy.LDAModel(k=num_topics, alpha=ALPHA, eta=beta, seed=seed)
    model.optim_interval = 0
    for row in counts.astype(int):
        model.add_doc([str(word) for word in np.repeat(np.arange(len(row)), row)])
    return model, lambda: model.train(sweeps, workers=1)


def topics_of(model, vocabulary):
    """P(word | topic), (K, V), of a model of any of the three libraries."""
    if isinstance(model, srk.MultimodalLDA):
        return model.topics[0]
    if hasattr(model, "components_"):
        return model.components_ / model.components_.sum(axis=1, keepdims=True)
    topics = np.full((model.k, vocabulary), 1e-12)
    words = [int(word) for word in model.used_vocabs]
    for topic in range(model.k):
        topics[topic, words] = model.get_topic_word_dist(topic)
    return topics / topics.sum(axis=1, keepdims=True)


def perplexities(counts, num_topics, seed, sweeps):
    """Held-out perplexity of every method: dict."""
    order = np.random.default_rng(seed).permutation(len(counts))
    train, held_out = np.split(counts[order], [2 * len(counts) // 3])
    given, scored = halves(held_out, seed)
    methods = {
        "kserket, CVB0": lambda: ours(train, num_topics, seed, sweeps, alpha=ALPHA),
        "kserket, Gibbs": lambda: ours(
            train, num_topics, seed, sweeps, alpha=ALPHA, inference="gibbs"
        ),
        "scikit-learn": lambda: scikit_learn(train, num_topics, seed, sweeps),
    }
    if importlib.util.find_spec("tomotopy"):
        methods["tomotopy"] = lambda: tomotopy(train, num_topics, seed, 5 * sweeps)
    found = {}
    for name, make in methods.items():
        model, run = make()
        run()
        found[name] = completion(topics_of(model, counts.shape[1]), ALPHA, given, scored)
    model, run = ours(train, num_topics, seed, sweeps)
    run()
    found["kserket, one topic a document (alpha = 0)"] = float(model.perplexity(scored, given)[0])
    words = train.sum(axis=0) + BETA
    found["no topics"] = completion((words / words.sum())[None], ALPHA, given, scored, sweeps=1)
    return found


def sorted_documents(counts, num_classes, seed, sweeps):
    """The class that every method puts each document in: name, then integers (N,)."""
    from sklearn.cluster import KMeans

    proportions = counts / counts.sum(axis=1, keepdims=True)
    for name, x in {"proportions": proportions, "their square roots": np.sqrt(proportions)}.items():
        yield f"k-means on {name}", KMeans(num_classes, n_init=10, random_state=seed).fit_predict(x)
    variants = {
        "one topic a document (alpha = 0)": {},
        "the same, 200 words each": {"modality_weights": 200},
        "CVB0": {"alpha": ALPHA},
        "Gibbs": {"alpha": ALPHA, "inference": "gibbs"},
        "Gibbs, alpha = 1": {"inference": "gibbs"},
    }
    for name, options in variants.items():
        model, run = ours(counts, num_classes, seed, sweeps, SORTING_BETA, **options)
        run()
        yield f"kserket, {name}", model.predict(counts).argmax(axis=1)
    model, run = scikit_learn(counts, num_classes, seed, sweeps, SORTING_BETA)
    run()
    yield "scikit-learn", model.transform(counts).argmax(axis=1)
    if importlib.util.find_spec("tomotopy"):
        model, run = tomotopy(np.rint(counts), num_classes, seed, 5 * sweeps, SORTING_BETA)
        run()
        yield "tomotopy", np.array([np.argmax(doc.get_topic_dist()) for doc in model.docs])


def scores(counts, labels, seed, sweeps):
    """Clustering scores of every method on all documents: dict from method to (3,)."""
    found = {}
    for name, classes in sorted_documents(counts, len(np.unique(labels)), seed, sweeps):
        values = srk.metrics.clustering_scores(labels, classes)
        found[name] = [values[score] for score in SCORES]
    return found


def show(title, found, columns=None):
    """A table of the figures of every method, mean and deviation over seeds.

    Args:
        title: What was measured.
        found: One dict for each seed, from method to a figure, or to one for each column.
        columns: Names of several figures.
    """
    heads = [title] if columns is None else columns
    if columns is not None:
        print(f"\n{title}", end="")
    print("\n| | " + " | ".join(heads) + " |\n|" + "---|" * (len(heads) + 1))
    for method in found[0]:
        values = np.array([np.atleast_1d(one[method]) for one in found])
        pairs = zip(values.mean(axis=0), values.std(axis=0), strict=True)
        cells = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in pairs]
        print(f"| {method} | " + " | ".join(cells) + " |", flush=True)


def seconds(run):
    """CPU seconds of one call."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def per_sweep(make, sweeps, repeats):
    """Median CPU seconds of a sweep; `make(sweeps)` gives a function that does so many."""
    make(1)()  # compiles what compiles
    return np.median(
        [(seconds(make(1 + sweeps)) - seconds(make(1))) / sweeps for _ in range(repeats)]
    )


def topic_times(counts, num_topics, sweeps, repeats):
    """Seconds of the dense products and of a sweep of every method: dict."""
    theta = np.random.default_rng(0).random((len(counts), num_topics))
    topics = np.random.default_rng(1).random((num_topics, counts.shape[1]))

    def products():
        counts @ topics.T
        theta.T @ counts

    products()
    found = {"dense products": np.median([seconds(products) for _ in range(2 * repeats + 1)])}
    options = {"n_init": 1, "tolerance": None}
    variants = {
        "kserket, alpha = 0": {"design_effects": 1.0},
        "kserket, CVB0": {"alpha": ALPHA},
        "kserket, Gibbs": {"alpha": ALPHA, "inference": "gibbs"},
    }
    for name, variant in variants.items():
        found[name] = per_sweep(
            lambda count, variant=variant: ours(counts, num_topics, 0, count, **options, **variant)[
                1
            ],
            sweeps,
            repeats,
        )
    found["scikit-learn"] = per_sweep(
        lambda count: scikit_learn(counts, num_topics, 0, count)[1], sweeps, repeats
    )
    if importlib.util.find_spec("tomotopy"):
        found["tomotopy"] = per_sweep(
            lambda count: tomotopy(counts, num_topics, 0, count)[1], sweeps, repeats
        )
    return found


def chain_times(num_steps, num_states, sweeps, repeats):
    """Seconds of the dense products and of a sweep over a chain, of every method: dict."""
    rng = np.random.default_rng(0)
    transitions = rng.dirichlet(np.full(num_states, 0.3), num_states)
    states = np.zeros(num_steps, int)
    for step in range(1, num_steps):
        states[step] = rng.choice(num_states, p=transitions[states[step - 1]])
    heard = np.where(rng.random(num_steps) < 0.8, states, rng.integers(num_states, size=num_steps))
    x = np.full((num_steps, num_states), 0.2 / num_states)
    x[np.arange(num_steps), heard] += 0.8

    def products():  # forward, backward, and counts of transitions
        ahead = x @ transitions
        back = x @ transitions.T
        ahead.T @ back

    products()
    found = {"dense products": np.median([seconds(products) for _ in range(2 * repeats + 1)])}
    found["kserket"] = per_sweep(
        lambda count: (
            lambda: srk.MarkovChain(num_states, n_init=1, tolerance=None, seed=0).fit(
                x, epochs=count, verbose=0
            )
        ),
        sweeps,
        repeats,
    )
    if importlib.util.find_spec("hmmlearn"):
        from hmmlearn.hmm import CategoricalHMM

        found["hmmlearn"] = per_sweep(
            lambda count: (
                lambda: CategoricalHMM(num_states, n_iter=count, tol=-np.inf, random_state=0).fit(
                    heard[:, None]
                )
            ),
            sweeps,
            repeats,
        )
    return found


def show_times(title, found):
    floor = found["dense products"]
    print(f"\n{title}\n\n| | ms | x dense products |\n|---|---|---|")
    for name, value in found.items():
        print(f"| {name} | {1e3 * value:.2f} | {value / floor:.1f} |", flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", default=os.environ.get("KSERKET_TUTORIAL"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="what to measure")
    parser.add_argument("--quick", action="store_true", help="small data, one seed: seconds")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    if arguments.quick:
        arguments.seeds, arguments.sweeps, arguments.repeats = [0], 20, 1
    sets = {"simulated": lambda seed: simulated(seed, 300 if arguments.quick else 1500)}
    if arguments.path and not arguments.quick:
        _, speech, labels = srk.datasets.load_serket_tutorial(arguments.path)
        sets["spoken digits"] = lambda seed: np.rint(speech)
        if "scores" in arguments.only:
            found = [scores(speech, labels, seed, arguments.sweeps) for seed in arguments.seeds]
            show(f"spoken digits sorted, {len(found)} seeds", found, SCORES)
    for name, make in sets.items():
        counts = make(arguments.seeds[0])
        if "perplexity" in arguments.only:
            found = [
                perplexities(make(seed), 10, seed, arguments.sweeps) for seed in arguments.seeds
            ]
            length = counts.sum(axis=1).mean()
            size = f"{counts.shape[0]} x {counts.shape[1]}, {length:.0f} words each"
            show(f"held-out perplexity, {name} ({size}), {len(found)} seeds", found)
        if "times" in arguments.only:
            times = topic_times(counts, 10, 5, arguments.repeats)
            show_times(f"time of a sweep, {name}, 10 topics", times)
    if "times" in arguments.only:
        num_steps = 300 if arguments.quick else 3000
        times = chain_times(num_steps, 10, 5, arguments.repeats)
        show_times(f"time of a sweep, a chain of {num_steps} steps, 10 states", times)


if __name__ == "__main__":
    main()
