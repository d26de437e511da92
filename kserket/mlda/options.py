"""Options of a topic model: what they may be, for one modality or for all, and as written down."""

import numpy as np

from kserket.inference.topic_weighing import per_modality
from kserket.inference.word_counts import LARGEST

_SMALLEST = 1e-100  # below it logarithms of probabilities overflow
_POSITIVE = f"positive, from {_SMALLEST:g} to {LARGEST:g}"


def mixes_topics(alpha, num_topics):
    """Whether documents mix topics under a Dirichlet parameter, or have one each.

    Args:
        alpha: A number, or (K,).
        num_topics: K, or None.

    Raises:
        ValueError: If `alpha` can be no Dirichlet parameter.
    """
    is_mixed = _is_positive(alpha)
    if not is_mixed and (np.ndim(alpha) or alpha != 0):
        raise ValueError(f"`alpha` must be 0, or {_POSITIVE}. Received: {alpha!r}")
    if np.ndim(alpha) and np.shape(alpha) != (num_topics,):
        raise ValueError(f"`alpha` must hold {num_topics} numbers, or be one: {alpha!r}")
    return is_mixed


def check_positive(**options):
    """Checks that options are positive, and of a size that sums in double precision can hold.

    Args:
        **options: Numbers by name, or lists of one number or (V,) per modality.

    Raises:
        ValueError: If one is not.
    """
    for option, value in options.items():
        values = per_modality(value)
        if not (values and all(map(_is_positive, values))):
            raise ValueError(f"`{option}` must be {_POSITIVE}. Received: {value!r}")


def check_words(beta, sizes):
    """Checks that pseudo-counts of words are one number for each modality, or one for each word.

    Args:
        beta: A number or (V_m,) for each modality, M of them.
        sizes: Vocabulary sizes (M,).

    Raises:
        ValueError: If one is neither.
    """
    for m, (one, size) in enumerate(zip(beta, sizes, strict=True)):
        if np.shape(one) not in ((), (1,), (size,)):
            raise ValueError(
                f"`beta` of modality {m} must be a number, or {size} of them, one for each word. "
                f"Received: shape {np.shape(one)}"
            )


def check_lengths(num_modalities, **options):
    """Checks that options that are lists hold one entry per modality.

    Args:
        num_modalities: M.
        **options: Values by name.

    Raises:
        ValueError: If one does not.
    """
    for option, value in options.items():
        if value is not None and len(per_modality(value, num_modalities)) != num_modalities:
            raise ValueError(
                f"`{option}` must hold one number per modality, {num_modalities}. "
                f"Received: {value!r}"
            )


def as_json(value):
    """Numbers and lists of them, for a configuration."""
    if isinstance(value, (list, tuple)):
        return [as_json(one) for one in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _is_positive(value):
    """Whether numbers are all positive, neither vanishing nor too large."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return False
    is_number = array.dtype.kind in "iuf" and array.size > 0
    return is_number and bool(np.all((array >= _SMALLEST) & (array <= LARGEST)))
