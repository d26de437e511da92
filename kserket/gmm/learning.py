"""What a mixture's fit does: start or go on, sweep, and keep the numbers of its components."""

import numpy as np

from kserket import storage
from kserket.core import messages
from kserket.gmm.starts import start, tells_classes, transformed, weight_of
from kserket.inference import gaussian_gibbs, gaussian_mixture
from kserket.inference.umap_clusters import group_probabilities


def learn(model, data, epochs, callbacks, verbose, rng):
    """Fits a mixture.

    Args:
        model: `GaussianMixture`.
        data: Dict of x, variance, class_prior and sample_weight, as `inputs.check` returns it.
        epochs: Number of sweeps.
        callbacks: Keras callbacks; an epoch is a sweep.
        verbose: As in `GaussianMixture.fit`.
        rng: `numpy.random.Generator`.

    Returns:
        A `keras.callbacks.History`.

    Raises:
        ImportError: If it starts by UMAP, which is not installed.
        ValueError: If nothing can be learned from these data.
    """
    if not model.built:
        model.build(data["x"].shape)
    before = None
    if model.is_fitted and not model.warm_start:
        before = _last_classes(model, data)
    if before is not None or not model.is_fitted:
        _start(model, data, rng)
    else:
        weight_of(data)  # raises where nothing counts: sweeps would forget all and stay there
    told = tells_classes(data)
    if model.knows_groups_of(len(data["x"])):
        data = {**data, "class_prior": _beside_groups(model, data["class_prior"])}
    if model.inference == "variational":
        history = _climb(model, data, epochs, callbacks, verbose)
    else:
        if data["variance"] is not None:
            noise = np.sqrt(data["variance"]) * rng.standard_normal(data["x"].shape)
            data = {**data, "x": data["x"] + noise}
        history = _draw(model, data, epochs, callbacks, verbose, rng)
    if not model.warm_start:
        model.assignments = _classes(model, data)
        if before is not None and not told:
            _renumber(model, before)
    return history


def _start(model, data, rng):
    """Makes the model one that has only started; if that fails, it stays what it was."""
    found = start(
        data,
        model.num_components,
        rng,
        init=model.init,
        n_init=model.n_init,
        hyper_parameters=model.hyper_parameters,
        needs_state=model.inference == "variational",
        learn_powers=model.learns_powers,
    )
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    model._assign(found.prior, "prior_")
    if found.state is not None:
        model._assign(found.state)
    if found.power_transform is not None:
        model._assign(found.power_transform, "transform_")
    model.assignments = None
    model.groups = found.groups if model.keep_groups else None


def _climb(model, data, epochs, callbacks, verbose):
    """Variational sweeps."""
    slopes = model.log_slopes(data)
    data = transformed(data, model.power_transform)

    def run(report):
        def report_of_data(sweep, num_sweeps, bound, state):
            report(sweep, num_sweeps, bound + slopes, state)

        state, *_ = gaussian_mixture.fit(
            prior=model.prior,
            state=model.state,
            num_sweeps=epochs,
            tolerance=model.tolerance,
            callback=report_of_data,
            **data,
        )
        return state

    return model._sweep(run, model._assign, "bound", epochs, callbacks, verbose)


def _draw(model, data, epochs, callbacks, verbose, rng):
    """The sampler's sweeps, over x as it is."""
    x, before = data["x"], None
    if model.is_fitted:
        before = _last_classes(model, {**data, "variance": None})

    def run(report):
        chain, _ = gaussian_gibbs.sample(
            x,
            model.prior,
            num_components=model.num_components,
            num_sweeps=epochs,
            rng=rng,
            assignments=before,
            class_prior=data["class_prior"],
            callback=report,
        )
        return chain

    def adopt(chain):
        model.assignments = classes = np.array(chain.assignments)
        model._assign(gaussian_gibbs.posterior_state(model.prior, x, classes, model.num_components))

    return model._sweep(run, adopt, "log_joint", epochs, callbacks, verbose)


def _classes(model, data):
    """The most probable class (N,) of each datum."""
    log_likelihood = model._log_likelihood(data["x"], data["variance"])
    log_posterior = model._log_posterior(log_likelihood, data["class_prior"])
    return storage.apply(lambda part: part.argmax(axis=1), log_posterior)


def _last_classes(model, data):
    """The class (N,) that the last fit left each datum in, or of other data the most probable."""
    if model.assignments is not None and len(model.assignments) == len(data["x"]):
        return model.assignments
    return _classes(model, data)


def _beside_groups(model, prior):
    """Class probabilities (N, K) of what the groups and a prior, or None, say together."""
    kept = group_probabilities(model.groups, model.num_components)
    if prior is None:
        return kept
    return messages.product([messages.Categorical(part) for part in (kept, prior)]).probs


def _renumber(model, before):
    """Gives each component the number of the old one that it shares most data with.

    Args:
        model: `GaussianMixture`, whose `assignments` are those of the data now.
        before: Classes (N,) of the data under the old components.
    """
    from scipy.optimize import linear_sum_assignment

    shared = np.zeros((model.num_components, model.num_components))
    np.add.at(shared, (before, model.assignments), 1)
    _, order = linear_sum_assignment(shared, maximize=True)
    model._assign(gaussian_mixture.State(*(field[order] for field in model.state)))
    numbers = np.argsort(order)
    model.assignments = numbers[model.assignments]
    if model.groups is not None:
        model.groups = np.where(model.groups < 0, -1, numbers[model.groups])
