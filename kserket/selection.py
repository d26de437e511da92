"""How many classes data show: mixtures of several sizes compared, without labels."""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from kserket import storage
from kserket.arrays import as_numbers
from kserket.core import messages
from kserket.core.checking import has_gaps
from kserket.core.columns import in_order, names_of
from kserket.core.graph import Graph
from kserket.core.named_inputs import named_inputs
from kserket.core.options import check_positive_int, check_seed, shown
from kserket.gmm import GMM, GaussianMixture
from kserket.metrics import adjusted_rand_index
from kserket.row_names import check_row_order, row_names_of
from kserket.typing import Floats, Integers

HELD_OUT = 5  # one part of so many is held out


class Selection(NamedTuple):
    """What `select_components` found, one entry for each number of components compared.

    Attributes:
        components: (R,) numbers of components.
        bound: (R,) variational bound of all data, log K! added for the orders that components can
            be numbered in, in nats.
        held_out: (R,) mean log likelihood of a held-out sample, in nats.
        held_out_error: (R,) its standard error over splits.
        stability: (R,) mean adjusted Rand index between the classes of all data that fits to
            different parts of them find; 1 is perfect, and of one component.
        found: The number that the graph compared has found, or else `GaussianMixture(None)` with
            this seed in all data. Other seeds, or rows in another order, may find another one.
    """

    components: Integers
    bound: Floats
    held_out: Floats
    held_out_error: Floats
    stability: Floats
    found: int

    def __repr__(self) -> str:
        lines = ["components        bound   held out  (error)  stability"]
        rows = zip(*self[:-1], strict=True)
        for number, bound, held_out, error, stability in rows:
            mark = "*" if number == self.found else " "
            lines.append(
                f"{number:>9}{mark} {bound:>13.1f} {held_out:>10.3f}  ({error:.3f}) "
                f"{stability:>9.2f}"
            )
        return "\n".join([*lines, f"* found by merging: {self.found}"])

    def plot(self, *, axes: Any = None) -> Any:
        """Draws bound, held-out likelihood and stability by number of components.

        Args:
            axes: Three matplotlib Axes. Default: a new figure with three panels in a row.

        Returns:
            Array (3,) of the Axes.

        Raises:
            ValueError: If `axes` are not three.
        """
        from kserket.plotting.style import FAINT, finish, line_color, pyplot

        if axes is None:
            _, axes = pyplot().subplots(1, 3, figsize=(10.5, 3.1), layout="constrained", dpi=150)
        axes = np.ravel(np.asarray(axes, object))
        if len(axes) != 3:
            raise ValueError(f"`axes` must be three Axes. Received: {len(axes)}")
        panels = {"bound (nats)": self.bound, "held-out log likelihood": self.held_out}
        panels["stability (ARI)"] = self.stability
        for number, (ax, (name, values)) in enumerate(zip(axes, panels.items(), strict=True)):
            ax.axvline(self.found, color=FAINT, lw=6)
            errors = self.held_out_error if number == 1 else None
            ax.errorbar(self.components, values, errors, marker="o", ms=4, color=line_color(0))
            finish(ax, None, "components (bar: found by merging)", name)
        return axes


def select_components(
    x: Any,
    components: Any = range(1, 11),
    *,
    num_splits: int = 3,
    seed: int | None = None,
    **options: Any,
) -> Selection:
    """Compares mixtures with different numbers of components, without labels.

    Each number is fitted to all data, for the bound, and to several random parts of them, four
    fifths each: the rest says how well new data are predicted, and agreement of the parts how
    stable classes are. `GaussianMixture(None)` answers by itself; the table is to check it.

    Args:
        x: Array (N, D), a `Gaussian` message, or a dict of `x` and `variance`; or a graph that has
            learned and holds one `GMM`, or such a module: then mixtures of what it reads, with its
            curves, gaps and priors, are compared.
        components: Numbers of components to compare.
        num_splits: How many random parts, two or more.
        seed: Integer that determines splits and starts.
        **options: Options of `GaussianMixture`.

    Returns:
        A `Selection`.

    Raises:
        ValueError: If there are fewer than ten samples, a number is not positive, or a graph holds
            more than one mixture or none.
    """
    components = list(np.atleast_1d(components).tolist())
    for number in components:
        check_positive_int(components=number)
    check_positive_int(num_splits=num_splits)
    if not components or num_splits < 2:
        raise ValueError(
            "`components` must hold a number at least, and `num_splits` be 2 or more. "
            f"Received: {shown(components)}, {num_splits}"
        )
    mixture = _mixture(x)
    parts = _read(x if mixture is None else mixture.get_messages()[0][0])
    if mixture is not None:
        options = {"allow_missing": has_gaps(parts["x"]), **_options(mixture), **options}
    size = len(parts["x"])
    if size < 2 * HELD_OUT:
        raise ValueError(f"There must be {2 * HELD_OUT} samples or more. Received: {size}")
    rng = np.random.default_rng(check_seed(seed))
    splits = [rng.permutation(size) for _ in range(num_splits)]
    options = {"seed": int(rng.integers(2**31)), **options}
    rows = [_compare(parts, number, splits, options) for number in components]
    if mixture is not None and mixture.model.finds_number:
        number = mixture.K
    else:
        found = GaussianMixture(None, **options)
        found.fit(parts, epochs=1, verbose=0)
        number = found.num_components
    bound, held_out, error, stability = map(np.array, zip(*rows, strict=True))
    return Selection(np.array(components), bound, held_out, error, stability, number)


def _compare(parts, number, splits, options):
    """Bound, held-out likelihood and its error, and stability of one number of components."""
    bound = GaussianMixture(number, **options).fit(parts, verbose=0).history
    scores, classes = [], []
    for order in splits:
        first = len(order) // HELD_OUT
        held_out, learned = np.sort(order[:first]), np.sort(order[first:])
        model = GaussianMixture(number, **options)
        model.fit(_rows(parts, learned), verbose=0)
        scores.append(model.evaluate(_rows(parts, held_out)["x"]))
        classes.append(model.predict(parts).argmax(axis=1))
    pairs = itertools.combinations(classes, 2)
    return (
        next(iter(bound.values()))[-1] + math.lgamma(number + 1),
        np.mean(scores),
        np.std(scores, ddof=1) / math.sqrt(len(scores)),
        np.mean([adjusted_rand_index(*pair) for pair in pairs]),
    )


def _mixture(x):
    """The `GMM` of a graph, or the module itself; None of data."""
    if isinstance(x, Graph):
        mixtures = [module for module in x.modules if isinstance(module, GMM)]
        if len(mixtures) != 1:
            raise ValueError(
                f"The graph must hold one GMM. It holds {len(mixtures)}. Pass one of them."
            )
        (x,) = mixtures
    return x if isinstance(x, GMM) else None


def _options(mixture):
    """The options of a `GMM` that say what data are to it."""
    model = mixture.model
    names = ("power_transform", "resolution", *model.hyper_parameters)
    config = model.get_config()
    return {name: config[name] for name in names}


def _read(x):
    """Dict of x (N, D) and perhaps variance (N, D), rows that say nothing left out."""
    parts = dict(named_inputs(x, "variance"))
    x, missing = parts["x"], None
    if isinstance(x, messages.Gaussian):
        parts["x"], missing = x.mean, x.missing
        if x.variance is not None:
            parts.setdefault("variance", x.variance)
    else:
        missing = messages.missing_rows(x)
    check_row_order(*((f"`{name}`", row_names_of(part)) for name, part in parts.items()))
    names = names_of(parts["x"])
    parts = {
        name: as_numbers(in_order(part, names, f"`{name}`"), f"`{name}`")
        for name, part in parts.items()
    }
    if missing is not None and missing.any():
        parts = _rows(parts, np.flatnonzero(~missing))
    return parts


def _rows(parts, rows):
    """Some rows of each part."""
    return {name: storage.take(part, rows) for name, part in parts.items()}
