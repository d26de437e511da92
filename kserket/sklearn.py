"""scikit-learn estimators: a mixture, and any graph, for pipelines and grid searches.

`from kserket.sklearn import GaussianMixture, GraphClusterer`. Both follow scikit-learn's names and
manners (`n_components`, `random_state`, `fit`, attributes that end in an underscore), not those
of Keras.
"""

from collections.abc import Callable
from typing import Any, Literal, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    DensityMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from kserket import gmm, vae
from kserket.arrays import as_numbers, check_unmasked
from kserket.core.graph import Graph
from kserket.core.keywords import in_words_of
from kserket.core.module import Module
from kserket.core.observation import Observation
from kserket.core.options import check_flag, check_nonnegative_int, check_positive_int, shown
from kserket.typing import Floats, Integers


class GaussianMixture(DensityMixin, BaseEstimator):
    """`kserket.GaussianMixture` as an estimator.

    Args:
        n_components: Number of components K; None finds it in the data, anew in each `fit`.
        max_components: How many components None finds at most.
        sparse: Whether components that the data do not need stay empty.
        inference: "variational" or "gibbs".
        n_init: Number of k-means++ starts, chosen by the bound; None makes 30, fewer of data of
            more than 150 features.
        max_iter: Number of sweeps.
        tol: Sweeps end early when the bound per sample gains less; None does all.
        weight_concentration: Dirichlet concentration of each mixing weight; None is the
            model's default, as for the next two.
        mean_precision: How many data the prior mean counts as.
        degrees_of_freedom: Degrees of freedom of the Wishart prior.
        power_transform: Whether each feature passes through a curve that takes skewness away,
            learned with the mixture.
        allow_missing: Whether cells of X may be NaN: what was not observed is integrated out.
        random_state: Integer, `RandomState` or None.

    Attributes:
        model_: The fitted `kserket.GaussianMixture`; `model_.num_components` is K.
        weights_: Mixing weights (K,).
        means_: Component means (K, D); medians under a power transform.
        covariances_: Component covariances (K, D, D), then to first order.
        lower_bound_: The variational bound (the sampler's log joint) of the last sweep, nats.
        n_iter_: Number of sweeps done.
        n_features_in_: D.

    Raises:
        ValueError: If an option is unknown or data are not finite numbers of shape (N, D).

    Example:

    ```python
    from kserket.datasets import make_mixture
    from kserket.sklearn import GaussianMixture

    x, *_ = make_mixture(300, 3, 2, seed=0)
    print(GaussianMixture(3, random_state=0).fit(x).score(x))
    ```
    """

    def __init__(
        self,
        n_components: int | None = 1,
        *,
        max_components: int = 50,
        sparse: bool = False,
        inference: Literal["variational", "gibbs"] = "variational",
        n_init: int | None = None,
        max_iter: int = 100,
        tol: float | None = 1e-6,
        weight_concentration: float | None = None,
        mean_precision: float | None = None,
        degrees_of_freedom: float | None = None,
        power_transform: bool = False,
        allow_missing: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.max_components = max_components
        self.sparse = sparse
        self.inference = inference
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.weight_concentration = weight_concentration
        self.mean_precision = mean_precision
        self.degrees_of_freedom = degrees_of_freedom
        self.power_transform = power_transform
        self.allow_missing = allow_missing
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fits the mixture.

        Args:
            X: Array (N, D), two samples at least.
            y: Not used.

        Returns:
            The estimator.
        """
        check_positive_int(max_iter=self.max_iter)
        check_flag(allow_missing=self.allow_missing)
        X = _validated(self, X, ensure_min_samples=2)
        words = {"num_components": "n_components", "tolerance": "tol", "seed": "random_state"}
        seed = _draw_seed(self.random_state)
        with in_words_of(GaussianMixture, gmm.GaussianMixture, **words):
            self.model_ = gmm.GaussianMixture(
                self.n_components,
                max_components=self.max_components,
                sparse=self.sparse,
                inference=self.inference,
                n_init=self.n_init,
                weight_concentration=self.weight_concentration,
                mean_precision=self.mean_precision,
                degrees_of_freedom=self.degrees_of_freedom,
                power_transform=self.power_transform,
                allow_missing=self.allow_missing,
                tolerance=self.tol,
                seed=seed,
            )
        history = self.model_.fit(X, epochs=int(self.max_iter), verbose=0)
        (bounds,) = history.history.values()
        self.lower_bound_, self.n_iter_ = bounds[-1], len(bounds)
        self.weights_ = self.model_.mixing_weights
        self.means_, self.covariances_ = self.model_.means, self.model_.covariances
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Responsibilities (N, K) of data (N, D)."""
        X = self._validate(X)
        return self.model_.predict(X)

    def predict(self, X: ArrayLike) -> Integers:
        """The likeliest component (N,) of each datum."""
        return self.predict_proba(X).argmax(axis=1)

    def fit_predict(self, X: ArrayLike, y: Any = None) -> Integers:
        """`fit(X)`, then `predict(X)`."""
        return self.fit(X).predict(X)

    def score_samples(self, X: ArrayLike) -> Floats:
        """log p(x) (N,) of each datum, parameters integrated out."""
        X = self._validate(X)
        return self.model_.score_samples(X)

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Mean log p(x) of data (N, D): what a grid search over K compares on held-out samples."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1) -> tuple[Floats, Integers]:
        """Draws `(X, components)`, (n_samples, D) and (n_samples,)."""
        check_is_fitted(self)
        return self.model_.sample(n_samples, seed=_draw_seed(self.random_state))

    def _validate(self, X):
        check_is_fitted(self)
        return _validated(self, X, reset=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = bool(self.allow_missing)
        return tags


class GraphClusterer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """Any graph as an estimator that clusters.

    Args:
        build: Callable `build(X, n_clusters, seed)` that returns a `kserket.Graph` over one
            observation of X, its top module a classifier; None is `gaussian_mixture_graph`.
            `vae_graph` puts a variational autoencoder under the mixture.
        n_clusters: Number of classes, or None where `build` makes a graph that finds it, as
            `gaussian_mixture_graph` and `vae_graph` do.
        rounds: Number of rounds.
        allow_missing: Whether cells of X may be NaN. `recipes.table` and `gaussian_mixture_graph`
            take such cells as not observed; `build` must make a graph that does.
        random_state: Integer, `RandomState` or None.

    Attributes:
        graph_: The fitted `kserket.Graph`.
        labels_: Classes (N,) of the training data.
        n_features_in_: D.

    Raises:
        TypeError: If `build` returns no graph.
        ValueError: If data are not finite numbers of shape (N, D), or the graph is not one of one
            observation of samples like those of X under one classifier.

    Example:

    ```python
    from kserket.datasets import make_mixture
    from kserket.sklearn import GraphClusterer

    x, *_ = make_mixture(300, 3, 2, seed=0)
    print(GraphClusterer(n_clusters=3, rounds=1, random_state=0).fit_predict(x)[:5])
    ```
    """

    def __init__(
        self,
        build: Callable[[Any, int | None, int], Graph] | None = None,
        *,
        n_clusters: int | None = 8,
        rounds: int = 5,
        allow_missing: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.build = build
        self.n_clusters = n_clusters
        self.rounds = rounds
        self.allow_missing = allow_missing
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Builds the graph and runs its rounds.

        Args:
            X: Array (N, D), two samples at least.
            y: Not used.

        Returns:
            The estimator.
        """
        check_positive_int(rounds=self.rounds)
        check_flag(allow_missing=self.allow_missing)
        if self.n_clusters is not None:
            check_positive_int(n_clusters=self.n_clusters)
        if self.build is not None and not callable(self.build):
            raise TypeError(
                "`build` must be a function of X, n_clusters and seed that returns a Graph, or "
                f"None. Received: {shown(self.build)}"
            )
        X = _validated(self, X, ensure_min_samples=2)
        build = gaussian_mixture_graph if self.build is None else self.build
        graph = _checked(build(X, self.n_clusters, _draw_seed(self.random_state)), X)
        graph.fit(self.rounds, verbose=0)
        (top,) = graph.tops
        if top.posterior is None:
            raise ValueError(
                "The graph that `build` returns must have a classifier at the top, such as "
                f"gmm.GMM. {top.get_name()} ({type(top).__name__}) states no class probabilities."
            )
        self.graph_ = graph
        self.labels_ = self.graph_.predict(X).argmax(axis=1)
        return self

    def predict_proba(self, X: ArrayLike) -> Any:
        """Class probabilities (N, K) of data (N, D)."""
        X = self._validate(X)
        return self.graph_.predict(X)

    def predict(self, X: ArrayLike) -> Integers:
        """The likeliest class (N,) of each datum."""
        return self.predict_proba(X).argmax(axis=1)

    def transform(self, X: ArrayLike) -> Any:
        """What the top module reads.

        Args:
            X: Array (N, D).

        Returns:
            Array (N, L): the latent means under a mixture.

        Raises:
            ValueError: If the top module reads several modules.
        """
        X = self._validate(X)
        if isinstance(self._source, Observation):
            return X
        return self.graph_.predict(X, outputs=self.graph_.names[self._source])

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Mean log-likelihood, under the top module, of what that reads of data (N, D).

        Over a VAE these are its latent means, not the data: the score compares numbers of
        clusters over one fitted VAE at most, and never different graphs or VAEs. Latent
        variables that have collapsed have a high likelihood.
        """
        X = self._validate(X)
        figure = f"{self.graph_.names[self.graph_.tops[0]]}/log_likelihood"
        return self.graph_.evaluate(X)[figure]

    @property
    def _source(self):
        """The one module that the top module reads."""
        top = self.graph_.tops[0]
        if len(top.inputs) != 1:
            raise ValueError(
                f"transform() gives what the top module reads, and {top.get_name()} must read one "
                f"module. Received: {len(top.inputs)}. Use graph_.predict(X, outputs=...)."
            )
        return top.inputs[0]

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the columns of `transform`.

        Args:
            input_features: Names of the columns of X, or None for those of `fit`.

        Returns:
            Array of strings: the names of X where the top module reads X itself, else numbered
            after the class.
        """
        check_is_fitted(self)
        reads_x = isinstance(self._source, Observation)
        named = OneToOneFeatureMixin if reads_x else ClassNamePrefixFeaturesOutMixin
        return named.get_feature_names_out(self, input_features)

    @property
    def _n_features_out(self):
        """How many columns `transform` gives, each of which has a name."""
        return self._source.get_forward_msg().shape[1]

    def _validate(self, X):
        check_is_fitted(self)
        return _validated(self, X, reset=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = bool(self.allow_missing)
        return tags


def _validated(estimator, X, **options):
    """`validate_data`, which would read through masks and take text that spells numbers."""
    check_unmasked(X, "X")
    if getattr(estimator, "allow_missing", False):
        options["ensure_all_finite"] = "allow-nan"
    if isinstance(X, h5py.Dataset) or _holds_text_or_dates(X):
        X = as_numbers(X, "X")
    try:
        return validate_data(estimator, X, dtype=[np.float64, np.float32], **options)
    except ValueError as error:
        text = str(error)
        if "contains NaN" not in text:
            raise
    raise ValueError(
        f"{text.splitlines()[0]} {type(estimator).__name__}(allow_missing=True) takes such cells "
        "as not observed, where a mixture reads them. Or impute them."
    )


def _holds_text_or_dates(X):
    """Whether scikit-learn would make numbers of what are none."""
    types = getattr(X, "dtypes", None)
    types = [getattr(X, "dtype", None)] if types is None else types
    if any(str(getattr(dtype, "kind", "f")) in "SUmM" for dtype in np.ravel(types)):
        return True
    if getattr(getattr(X, "dtype", None), "kind", "f") != "O":
        return False
    return any(isinstance(value, (str, bytes)) for value in np.asarray(X).flat)


def _checked(graph, X):
    """What `build` returned, if it is a graph that can be trained on X and asked for classes."""
    if not isinstance(graph, Graph):
        hint = f": return Graph({graph.name}, seed=seed)" if isinstance(graph, Module) else ""
        raise TypeError(
            f"`build` must return a kserket.Graph{hint}. Received: {type(graph).__name__}"
        )
    for kind, modules in (("observation", graph.observations), ("module at the top", graph.tops)):
        if len(modules) != 1:
            raise ValueError(
                f"The graph that `build` returns must have one {kind}. Received: {len(modules)}. "
                "A graph of several is used without an estimator: graph.fit(), graph.predict()."
            )
    (observation,) = graph.observations.values()
    if observation.data.shape[1:] != X.shape[1:]:
        raise ValueError(
            f"The graph that `build` returns must observe samples of X, of shape {X.shape[1:]}, "
            f"as they are. Received: {observation.data.shape[1:]}. Reshape or scale them before, "
            "in a pipeline, or in a module of the graph."
        )
    return graph


def gaussian_mixture_graph(X: ArrayLike, n_clusters: int | None, seed: int | None) -> Graph:
    """Data under a Gaussian mixture.

    Args:
        X: Array (N, D).
        n_clusters: Number of classes; None finds it in what the mixture reads.
        seed: Integer.

    Returns:
        A `kserket.Graph`.
    """
    top = gmm.GMM(n_clusters, save_dir=None)
    top.connect(Observation(X, allow_missing=True))
    return Graph(top, seed=seed)


def vae_graph(X: Any, n_clusters: int | None, seed: int | None) -> Graph:
    """Data under a variational autoencoder under a Gaussian mixture.

    This is for images and other data of many features that depend on each other. A table of a few
    columns is sorted better by the mixture alone, `gaussian_mixture_graph`.

    The likelihood is Gaussian, which takes values of any range: held-out data may lie beyond the
    training data. For binary data write such a function with `likelihood="bernoulli"`.

    Args:
        X: Array (N, D).
        n_clusters: Number of classes; None finds it in what the mixture reads.
        seed: Integer.

    Returns:
        A `kserket.Graph`.
    """
    bottom = vae.VAE(
        min(10, X.shape[1]),
        itr=100,
        batch_size=min(256, len(X)),
        likelihood="gaussian",
        save_dir=None,
    )
    top = gmm.GMM(n_clusters, save_dir=None)
    bottom.connect(Observation(X))
    top.connect(bottom)
    return Graph(top, seed=seed)


def _draw_seed(random_state):
    """An integer seed from what scikit-learn takes as `random_state`."""
    if isinstance(random_state, (int, np.integer)):
        check_nonnegative_int(random_state=int(random_state))
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
