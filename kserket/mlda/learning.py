"""What a topic model's fit does: weigh modalities, start or go on, and sweep."""

import numpy as np

from kserket.inference import document_classes, topic_gibbs, topic_model, word_counts
from kserket.mlda import inputs
from kserket.mlda.options import per_modality


def learn(model, x, epochs, callbacks, verbose, rng):
    """Fits a topic model.

    Args:
        model: `MultimodalLDA`.
        x: As in `MultimodalLDA.fit`.
        epochs: Number of sweeps.
        callbacks: Keras callbacks; an epoch is a sweep.
        verbose: As in `MultimodalLDA.fit`.
        rng: `numpy.random.Generator`.

    Returns:
        A `keras.callbacks.History`.

    Raises:
        ValueError: If inputs do not fit each other or the model.
    """
    data = model._read(x)
    if not any(part.sum() > 0 for part in data.values):
        raise ValueError(
            f"{model.name} has nothing to learn from: {data.values[0].shape[0]} documents without "
            "a single word. Leave out empty data, or check what counts them."
        )
    if not model.built:
        model.build([part.shape for part in data.values], data.reports)
    effects, lengths = _meet(model, data.values, rng)
    data = data._replace(values=model._weighing.scale(data.values))
    if not model.is_mixed:
        sweeps, figure = _classes, "log_posterior"
    elif model.inference == "variational":
        sweeps, figure = _proportions, "log_predictive"
    else:
        sweeps, figure = _draws, "log_joint"

    def run(report):
        return sweeps(model, data, effects, rng, num_sweeps=epochs, callback=report)

    def adopt(reached):
        model._parameters["lengths"].assign(lengths)
        model._parameters["effects"].assign(effects)
        model._assign(_state(reached))

    return model._sweep(run, adopt, figure, epochs, callbacks, verbose)


# Sweeps ---------------------------------------------------------------------------------


def _classes(model, data, effects, rng, **sweeps):
    """Documents of one topic each, by expectation maximisation: a `document_classes.State`."""
    return document_classes.fit(
        model._weighing.modalities(data.values, effects),
        model._prior(effects),
        model.num_topics,
        state=model.state,
        log_prior=data.log_prior,
        n_init=model.n_init,
        tolerance=model.tolerance,
        rng=rng,
        **sweeps,
    ).state


def _proportions(model, data, effects, rng, **sweeps):
    """Documents that mix topics, by CVB0: a `topic_model.Fit`."""
    start = model.topics if model.is_fitted else _first_topics(model, data, rng)
    return topic_model.fit(
        data.values,
        model._alphas(),
        model._betas(),
        start,
        class_prior=data.class_prior,
        tolerance=model.tolerance,
        **sweeps,
    )


def _draws(model, data, effects, rng, **sweeps):
    """Documents that mix topics, by Gibbs sampling: a `topic_gibbs.Chain`."""
    alphas, topics = model._alphas(), None
    if model.is_fitted:
        topics = model.topics
        theta = topic_model.proportions(data.values, topics, alphas)
    else:
        theta = _first_topics(model, data, rng)
    chain, _ = topic_gibbs.sample(
        [word_counts.rounded(part) for part in data.values],
        alphas,
        model._betas(),
        theta,
        topics,
        rng=rng,
        class_prior=data.class_prior,
        **sweeps,
    )
    return chain


def _state(reached):
    """The `document_classes.State` of what a sweep reached."""
    if isinstance(reached, document_classes.State):
        return reached
    words = topic_gibbs.words(reached) if isinstance(reached, topic_gibbs.Chain) else reached.words
    return document_classes.State(words, reached.documents.sum(axis=0))


# Before the first sweep -----------------------------------------------------------------


def _first_topics(model, data, rng):
    """Topics of documents (N, K), each document having one, where models that mix them start."""
    return document_classes.fit(
        [document_classes.Modality(part) for part in data.values],
        document_classes.Prior(tuple(model._betas())),
        model.num_topics,
        log_prior=data.log_prior,
        n_init=model.n_init,
        num_sweeps=document_classes.START_SWEEPS,
        rng=rng,
    ).responsibilities


def _meet(model, values, rng):
    """Design effects and mean lengths (M,), found when a modality is first heard of."""
    effects, lengths = model._effects(), model._parameters["lengths"].numpy()
    spoken = [total[total > 0] for total in map(word_counts.totals, values)]
    now = np.array([total.mean() if len(total) else 0.0 for total in spoken])
    new = (lengths == 0) & (now > 0)
    if new.any() or not model.is_fitted:
        if model.modality_weights is None:
            inputs.warn_of_proportions(values, model.reports, model.name)
        effects = np.where(lengths > 0, effects, _find_effects(model, values, rng))
    return effects, np.where(new, now, lengths)


def _find_effects(model, values, rng):
    """Design effects (M,), relative to the largest of the modality weights; 1 for reports.

    Modality weights then say how much a modality counts beside the others, not how many
    independent words it has.
    """
    number, weights = len(values), model.modality_weights
    if model.is_mixed:
        return np.ones(number)
    if model.design_effects is not None:
        effects = np.array(per_modality(model.design_effects, number), float)
        effects[model.reports] = 1.0
        return effects
    largest = None if weights is None else np.max(weights)
    effects = np.ones(number)
    for m, beta in enumerate(model._betas()):
        if not model.reports[m]:
            counts = values[m] if largest is None else word_counts.scale(values[m], largest)
            effects[m] = document_classes.design_effect(counts, beta, model.num_topics, rng)
    return effects
