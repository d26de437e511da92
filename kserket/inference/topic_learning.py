"""What a fit of a topic model does: weigh modalities, start or go on, and sweep.

No model and no file: documents and what was found before go in, what is found comes out.
"""

from typing import Any, NamedTuple

import numpy as np

from kserket import hosts
from kserket.inference import (
    document_classes,
    silent_words,
    topic_gibbs,
    topic_merging,
    topic_model,
    word_counts,
)
from kserket.inference.topic_weighing import Weighing, per_modality

SILENT = 1e9  # words of a modality that are worth one, where all of them are worth nothing


class Documents(NamedTuple):
    """N documents, checked. A row of zeros says nothing.

    Attributes:
        values: M arrays (N, V_m): counts as `word_counts.read` has them, or class probabilities.
        scaled: The same at the lengths with which they count, `Weighing.scale`.
        reports: Which of them are reports, (M,).
        log_prior: Logarithms (N, K) of a class prior, or None.
        missing: Boolean (N,), of documents of which no modality was observed, or None.
    """

    values: list
    scaled: list
    reports: list
    log_prior: np.ndarray | None = None
    missing: np.ndarray | None = None

    @property
    def class_prior(self):
        """Probabilities (N, K), or None."""
        return None if self.log_prior is None else np.exp(self.log_prior)

    def seen(self):
        """The documents of which something was observed."""
        if self.missing is None:
            return self
        rows = ~self.missing
        values = [part[rows] for part in self.values]
        pairs = zip(values, self.values, self.scaled, strict=True)
        scaled = [new if all_of is part else part[rows] for new, all_of, part in pairs]
        log_prior = None if self.log_prior is None else self.log_prior[rows]
        return Documents(values, scaled, self.reports, log_prior)


class Options(NamedTuple):
    """How a topic model learns; `kserket.MultimodalLDA` explains each of them.

    Attributes:
        num_topics: K; None finds it by merging.
        alphas: Dirichlet parameters of topics in a document, (K,); zeros where they do not mix.
        betas: M Dirichlet parameters of words in a topic, numbers or (V_m,).
        weighing: `Weighing`.
        design_effects: Words that count as one, a number or one per modality; or None.
        samples: Whether topics that mix are drawn by Gibbs sampling.
        n_init: How many starts compete.
        tolerance: What a sweep must gain for another one to follow, or None.
        reconsiders: Whether new starts compete with what was found, where a document is of one
            class.
        max_topics: How many are found at most.
    """

    num_topics: int | None
    alphas: np.ndarray
    betas: list
    weighing: Weighing
    design_effects: Any = None
    samples: bool = False
    n_init: int = 15
    tolerance: float | None = 1e-6
    reconsiders: bool = False
    max_topics: int = topic_merging.MAX_TOPICS


class Found(NamedTuple):
    """What learning found.

    Attributes:
        state: `document_classes.State`: how often words stand in topics, and documents have them.
        effects: How many words of each modality are worth one, (M,); `SILENT` times as many where
            they tell no classes apart.
        lengths: Mean number of words of a document in each modality, (M,); 0 before it had any.
    """

    state: document_classes.State
    effects: np.ndarray
    lengths: np.ndarray


def learn(data, options, found=None, rng=None, num_sweeps=100, callback=None):
    """Learns topics, from what was found onwards or from the best of several starts.

    Args:
        data: `Documents`.
        options: `Options`.
        found: `Found` to go on from, or None.
        rng: `numpy.random.Generator`, or a seed.
        num_sweeps: At most.
        callback: Called as callback(sweep, num_sweeps, figure, found) after each; StopIteration
            ends the run with what is reached.

    Returns:
        `Found`.
    """
    rng = np.random.default_rng(rng)
    if options.samples:
        hosts.check_one_host(
            "The Gibbs sampler", "it draws one word after another. Take inference='variational'."
        )
    effects, lengths = _weigh(data, options, found, rng)
    if found is not None and (effects != found.effects).any():
        found = _at_effects(found, effects)
    start = None
    if options.num_topics is None:
        options, start = _with_number(data, options, effects, rng)

    def reached(by_sweeps):
        return Found(_state(by_sweeps), effects, lengths)

    def report(sweep, total, figure, by_sweeps):
        callback(sweep, total, figure, reached(by_sweeps))

    sweeps = _classes
    if options.weighing.is_mixed:
        sweeps = _draws if options.samples else _proportions
    callback_of_sweeps = None if callback is None else report
    state = None if found is None else found.state
    run = sweeps(
        data,
        options,
        state,
        effects,
        rng,
        start,
        num_sweeps=num_sweeps,
        callback=callback_of_sweeps,
    )
    return reached(run)


def is_new(values, found):
    """Which modalities have words for the first time, boolean (M,)."""
    now = _mean_lengths(values) > 0
    return now if found is None else now & (found.lengths == 0)


# Sweeps ---------------------------------------------------------------------------------


def _classes(data, options, state, effects, rng, start, **sweeps):
    """Documents of one topic each, by expectation maximization: a `document_classes.State`."""
    weighing = options.weighing
    modalities = weighing.modalities(data.scaled, effects)
    prior = weighing.prior(options.betas, effects)
    shared = {
        "log_prior": data.log_prior,
        "n_init": options.n_init,
        "tolerance": options.tolerance,
        "rng": rng,
    }
    if options.reconsiders and state is not None:
        state = document_classes.reconsidered(modalities, prior, state, **shared)
    return document_classes.fit(
        modalities,
        prior,
        options.num_topics,
        state=start if state is None else state,
        **shared,
        **sweeps,
    ).state


def _proportions(data, options, state, effects, rng, start, **sweeps):
    """Documents that mix topics, by CVB0: a `topic_model.Fit`."""
    topics = None if state is None else _topics(state, options, effects)
    return topic_model.fit(
        data.scaled,
        options.alphas,
        options.betas,
        _first_topics(data, options, rng, start) if topics is None else topics,
        class_prior=data.class_prior,
        tolerance=options.tolerance,
        **sweeps,
    )


def _draws(data, options, state, effects, rng, start, **sweeps):
    """Documents that mix topics, by Gibbs sampling: a `topic_gibbs.Chain`."""
    topics = None if state is None else _topics(state, options, effects)
    if topics is None:
        theta = _first_topics(data, options, rng, start)
    else:
        theta = topic_model.proportions(data.scaled, topics, options.alphas)
    chain, _ = topic_gibbs.sample(
        [word_counts.rounded(part) for part in data.scaled],
        options.alphas,
        options.betas,
        theta,
        topics,
        rng=rng,
        class_prior=data.class_prior,
        **sweeps,
    )
    return chain


def _topics(state, options, effects):
    """P(word | topic) of each modality, a tuple of (K, V_m)."""
    return document_classes.topics(state, options.weighing.prior(options.betas, effects))


def _state(reached):
    """The `document_classes.State` of what a sweep reached."""
    if isinstance(reached, document_classes.State):
        return reached
    words = topic_gibbs.words(reached) if isinstance(reached, topic_gibbs.Chain) else reached.words
    return document_classes.State(words, hosts.sum_over_hosts(reached.documents.sum(axis=0)))


# Before the first sweep -----------------------------------------------------------------


def _with_number(data, options, effects, rng):
    """Options with the number of topics, and the `document_classes.State` of these, or None.

    A class prior has classes already, and a report alone says nothing of others than its own.
    """
    start, telling = None, np.flatnonzero(~are_silent(effects))
    if data.log_prior is not None:
        number = data.log_prior.shape[1]
    elif len(telling) == 1 and data.reports[telling[0]]:
        number = data.values[telling[0]].shape[1]
    else:
        weighing = options.weighing
        modalities = weighing.modalities(data.scaled, effects)
        prior = weighing.prior(options.betas, effects)
        start = _merged(modalities, prior, options.max_topics, rng)
        number = len(start.documents)
    return options._replace(num_topics=number, alphas=np.resize(options.alphas, number)), start


def _merged(modalities, prior, max_topics, rng):
    """`topic_merging.search`; several hosts search in a sample of all their documents."""
    if hosts.num_hosts() == 1:
        return topic_merging.search(modalities, prior, max_topics, rng=rng)
    modalities, _ = document_classes.sample_of_hosts(modalities, None, rng)
    with hosts.alone():
        found = topic_merging.search(modalities, prior, max_topics, rng=rng)
    return hosts.from_first_host(found)


def _first_topics(data, options, rng, start):
    """Topics of documents (N, K), each document having one, where models that mix them start."""
    return document_classes.fit(
        [document_classes.Modality(part) for part in data.scaled],
        document_classes.Prior(tuple(options.betas)),
        options.num_topics,
        state=start,
        log_prior=data.log_prior,
        n_init=options.n_init,
        num_sweeps=document_classes.START_SWEEPS,
        rng=rng,
    ).responsibilities


def are_silent(effects):
    """Which modalities (M,) count for nothing, by their effects (M,)."""
    return effects >= SILENT


def _weigh(data, options, found, rng):
    """Design effects and mean lengths (M,), estimated when a modality first has words.

    One that was silent then may have a say once the others know more.
    """
    now, new = _mean_lengths(data.values), is_new(data.values, found)
    if found is None:
        effects, lengths, doubtful = _design_effects(data.values, options, rng), now, new
    elif new.any():
        effects = _design_effects(data.values, options, rng)
        effects = np.where(found.lengths > 0, found.effects, effects)
        lengths = np.where(new, now, found.lengths)
        doubtful = new | are_silent(found.effects)
    else:
        effects, lengths, doubtful = found.effects, found.lengths, are_silent(found.effects)
    if options.weighing.is_mixed or options.design_effects is not None or not doubtful.any():
        return effects, lengths
    effects = np.where(are_silent(effects), effects / SILENT, effects)
    modalities = options.weighing.modalities(data.scaled, effects)
    prior = options.weighing.prior(options.betas, effects)
    parts = modalities, data.values, prior, options.num_topics, doubtful, data.log_prior
    return np.where(silent_words.find(*parts), SILENT * effects, effects), lengths


def _at_effects(found, effects):
    """`Found` with words counted as design effects (M,) have them."""
    pairs = zip(found.state.words, found.effects / effects, strict=True)
    words = tuple(part * ratio for part, ratio in pairs)
    return found._replace(state=found.state._replace(words=words), effects=effects)


def _mean_lengths(values):
    """Mean number of words of the documents that have any, of all hosts, (M,)."""
    spoken = [total[total > 0] for total in map(word_counts.totals, values)]
    if hosts.num_hosts() > 1:
        sums = [(float(total.sum()), len(total)) for total in spoken]
        return np.array([total / (size or 1) for total, size in hosts.sum_over_hosts(sums)])
    return np.array([total.mean() if len(total) else 0.0 for total in spoken])


def _design_effects(values, options, rng):
    """Design effects (M,), relative to the largest of the modality weights; 1 for reports.

    Modality weights then say how much a modality counts beside the others, not how many
    independent words it has.
    """
    number, (reports, weights, is_mixed) = len(values), options.weighing
    effects = np.ones(number)
    if is_mixed:
        return effects
    if options.design_effects is not None:
        effects = np.array(per_modality(options.design_effects, number), float)
        effects[reports] = 1.0
        return effects
    if hosts.num_hosts() > 1:  # from a sample that all of them see
        rows, _ = hosts.choose_rows(values[0].shape[0], document_classes.MAX_START_DOCUMENTS, rng)
        values = [word_counts.gathered(part, rows) for part in values]
        with hosts.alone():
            effects = _design_effects(values, options, rng)
        return hosts.from_first_host(effects)
    largest = None if weights is None else np.max(weights)
    for m, beta in enumerate(options.betas):
        if not reports[m]:
            counts = values[m] if largest is None else word_counts.scale(values[m], largest)
            number = options.num_topics or options.max_topics
            effects[m] = document_classes.design_effect(counts, beta, number, rng)
    return effects
