"""Functions compiled by numba, where it is installed."""


def compile_all(*functions, **options):
    """Functions that numba compiles at their first call, and keeps on disk where it may.

    Args:
        *functions: Functions of arrays and numbers, in the part of Python that numba knows.
        **options: Of `numba.njit`.

    Returns:
        List of functions.

    Raises:
        ImportError: If numba is not installed.
    """
    import numba

    options = {"error_model": "numpy", **options}
    try:
        return [numba.njit(cache=True, **options)(function) for function in functions]
    except RuntimeError:  # nowhere to write the cache
        return [numba.njit(**options)(function) for function in functions]
