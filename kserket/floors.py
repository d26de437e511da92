"""What stands for zero where a logarithm is taken.

Probabilities are floored just above the smallest numbers that a precision holds in full, so that
a floor is never seen where other evidence exists. Messages floor logarithms far below anything
that a probability reaches, so that what the data exclude stays excluded.
"""

import numpy as np

SMALLEST = 1e-300  # stands for a probability of 0 in double precision
_SMALLEST_SINGLE = 1e-37  # and in single precision
LOG_ZERO = -1e9  # stands for log 0 in a message: finite, so that contradictions tie, never NaN


def smallest(dtype):
    """What stands for a probability of zero in a precision.

    Args:
        dtype: A floating point type of NumPy, its name, or one of TensorFlow's.

    Returns:
        A float.
    """
    single = np.dtype(getattr(dtype, "as_numpy_dtype", dtype)).itemsize < 8
    return _SMALLEST_SINGLE if single else SMALLEST
