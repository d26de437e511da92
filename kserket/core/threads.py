"""Threads of linear algebra while a model sweeps over its data."""

from threadpoolctl import threadpool_limits

ROWS = 50_000  # from here on the products of a sweep are large enough for several threads


def threads_for(num_rows):
    """Within it products of few rows use one thread, those of many what the process allows.

    Where threads of two libraries, or another process, share a core, each small product waits for
    threads that wait for each other, which takes many times as long as the product itself.

    Args:
        num_rows: N, rows of the data.

    Returns:
        A context manager.
    """
    return threadpool_limits(1 if num_rows < ROWS else None, user_api="blas")
