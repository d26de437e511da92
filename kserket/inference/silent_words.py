"""Words that tell no classes apart, such as those of a sense that has nothing to do with others.

Expectation maximization finds topics in any words: where many of them are said by chance, they
decide alone, and take the place of what the other senses know. Whether words have to do with
classes z is seen by what their likelihood gains where the proportions of each document are drawn
around the topic of its class, not around p, the proportions of all words:

    w_d ~ DirichletMultinomial(s topic[z_d])    against    w_d ~ DirichletMultinomial(s' p).

Both know that words come in bunches, s and s' being as is likely, so that bunches do not pass for
classes. Topics that were estimated from the same words do too well on them; how much is the
difference between their highest likelihood and the one where they, too, are drawn around p. Words
are silent if they gain less than `MARGIN` nats beyond that: both for the classes that the other
senses tell, and for those that they lead to themselves, whose own probability then counts, too.

Reference:
    R. E. Madsen, D. Kauchak and C. Elkan, Modeling word burstiness using the Dirichlet
    distribution, ICML 2005. I. J. Good, A Bayesian significance test for multinomial
    distributions, Journal of the Royal Statistical Society B 29 (1967).
"""

import numpy as np

from kserket import hosts
from kserket.floors import SMALLEST
from kserket.inference import document_classes, topic_merging, word_counts

MARGIN = 2.0  # nats
FEWEST, FEWEST_OF_CLASS = 30, 10  # documents, in all and for each class, that evidence needs
_TIGHTNESS = np.geomspace(0.05, 1e8, 57)  # s
_NUM_STARTS = 5
_FLAT = 1e-6  # class probabilities that differ less say nothing
_MOST_CLASSES = 4  # that are tried where their number is not known


def find(data, counts, prior, num_topics, candidates, log_prior=None):
    """Which modalities are words that tell nothing of classes.

    Where nothing else is known of classes, or documents are few, none is silent.

    Args:
        data: `document_classes.Modality`s, M of them.
        counts: M arrays (N, V_m), which data are scaled from.
        prior: `document_classes.Prior` of the data.
        num_topics: K, or None to find classes by merging.
        candidates: Boolean (M,): those that may be silent. Reports never are, nor proportions, of
            which nobody knows how many words they stand for.
        log_prior: (N, K) logarithms of class probabilities, or None.

    Returns:
        Boolean (M,).
    """
    totals = np.array([word_counts.totals(modality.values).sum() for modality in data])
    spoken = hosts.sum_over_hosts(totals) > 0
    candidates = candidates & spoken & [not modality.is_report for modality in data]
    candidates &= [word_counts.are_whole(part) for part in counts]
    if len(data) == 1 or num_topics == 1 or not candidates.any():
        return np.zeros(len(data), bool)
    both = [*data, *map(document_classes.Modality, counts)]
    both, log_prior = document_classes.sample_of_hosts(both, log_prior, np.random.default_rng(0))
    words = [modality.values for modality in both[len(data) :]]
    parts = both[: len(data)], words, prior, num_topics, candidates, spoken, log_prior
    if hosts.num_hosts() == 1:
        return _find(*parts)
    with hosts.alone():
        found = _find(*parts)
    return hosts.from_first_host(found)


def _find(data, counts, prior, num_topics, candidates, spoken, log_prior):
    """`find` among documents that one host has all of."""
    numbers = _numbers(num_topics)
    if log_prior is not None:
        num_topics = log_prior.shape[1]
        numbers = [num_topics]
    fewest = max(FEWEST, FEWEST_OF_CLASS * (num_topics or 1))
    silent = candidates.copy()
    for m in np.flatnonzero(candidates):
        said = counts[m][np.flatnonzero(word_counts.totals(counts[m]) > 0)]
        beta = prior.words[m] / data[m].weight
        silent[m] = said.shape[0] >= fewest and not _tell_alone(said, beta, _numbers(num_topics))
    trusted = np.flatnonzero(spoken & ~silent)
    if not silent.any() or not len(trusted):
        return np.zeros_like(silent)
    known = [data[m] for m in trusted]
    prior = prior._replace(words=tuple(prior.words[m] for m in trusted))
    for number in numbers:
        classes = _classes(known, prior, number, log_prior)
        says = np.flatnonzero(np.ptp(classes, axis=1) > _FLAT)
        labels = classes[says].argmax(axis=1)
        for m in np.flatnonzero(silent):
            silent[m] = len(says) >= fewest and _gain(counts[m][says], labels) < MARGIN
    return silent


def _numbers(num_topics):
    """Numbers of classes that are tried, which may be fewer than there are."""
    numbers, number = ([None], _MOST_CLASSES) if num_topics is None else ([], num_topics)
    while number > 1:
        numbers.append(number)
        number //= 2
    return numbers


def _tell_alone(counts, beta, numbers):
    """Whether words (n, V) lead to classes, so many, that are more probable than a single one."""
    from scipy.special import gammaln

    data, prior = [document_classes.Modality(counts)], document_classes.Prior((beta,))
    for number in numbers:
        classes = _classes(data, prior, number, None)
        labels = classes.argmax(axis=1)
        sizes = np.bincount(labels, minlength=classes.shape[1])
        gain = _gain(counts, labels) + gammaln(sizes + 1.0).sum()
        if gain + gammaln(len(sizes)) - gammaln(len(sizes) + sizes.sum()) >= MARGIN:
            return True
    return False


def _classes(data, prior, num_topics, log_prior):
    """Classes (N, K) that modalities lead to; of one report, those that it states."""
    rng = np.random.default_rng(0)
    if len(data) == 1 and data[0].is_report:
        values = data[0].values
        return values if isinstance(values, np.ndarray) else values.toarray()
    if num_topics is None:
        state = topic_merging.search(data, prior, n_init=1, rng=rng)
        return document_classes.responsibilities(data, state, prior, log_prior)[0]
    return document_classes.fit(
        data,
        prior,
        num_topics,
        log_prior=log_prior,
        n_init=_NUM_STARTS,
        num_sweeps=document_classes.START_SWEEPS,
        rng=rng,
    ).responsibilities


def _gain(counts, labels):
    """What classes gain over one, in nats.

    Args:
        counts: Words (n, V).
        labels: The class (n,) of each document.
    """
    alone, _ = _best_bunching(counts, np.zeros_like(labels))
    apart, worth = _best_bunching(counts, labels)
    return apart - alone - _optimism(worth * _sums(counts, labels))


def _sums(counts, labels):
    """How often each word stands in each class, (K, V)."""
    return np.asarray(counts.T @ np.eye(labels.max(initial=0) + 1)[labels]).T


def _best_bunching(counts, labels):
    """The log likelihood of documents around the topics of their classes, as bunched as is likely.

    Returns:
        A float, and how many independent words one is worth.
    """
    from scipy import sparse
    from scipy.special import gammaln

    cells, lengths = sparse.coo_array(counts), word_counts.totals(counts)
    topics = _sums(counts, labels)
    topics /= np.maximum(topics.sum(axis=1, keepdims=True), SMALLEST)
    shares = topics[labels[cells.row], cells.col]

    def log_likelihood(tightness):
        of_words = gammaln(cells.data + tightness * shares) - gammaln(tightness * shares)
        of_lengths = gammaln(tightness) - gammaln(tightness + lengths)
        return of_words.sum() + of_lengths.sum()

    values = [log_likelihood(tightness) for tightness in _TIGHTNESS]
    tightness = _TIGHTNESS[np.argmax(values)]
    longer = max(0.0, (lengths @ lengths) / max(lengths.sum(), 1.0) - 1.0)
    return max(values), 1.0 / (1.0 + longer / (tightness + 1.0))


def _optimism(sums):
    """How much too well topics do on the words (K, V) that they are estimated from, in nats.

    That is what they gain over one topic at their most likely values, less what they gain drawn
    around it, as tightly as is likely.
    """
    from scipy.special import gammaln

    total = sums.sum(axis=0)
    sums, total = sums[:, total > 0], total[total > 0]
    shares, sizes = total / total.sum(), sums.sum(axis=1)
    gains = [0.0]
    for tightness in _TIGHTNESS:
        center = tightness * shares
        of_words = (gammaln(sums + center) - gammaln(center)).sum()
        of_sizes = (gammaln(tightness) - gammaln(tightness + sizes)).sum()
        gains.append(of_words + of_sizes - total @ np.log(shares))
    topics = sums / np.maximum(sizes[:, None], SMALLEST)
    most = (sums * np.log(np.maximum(topics / shares, SMALLEST))).sum()
    return most - max(gains)
