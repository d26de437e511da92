"""What travels along an edge of a graph.

A message states what one module knows of the variable it shares with another: a class
(`Categorical`), a real vector (`Gaussian`), a vector through the classes it may belong to
(`Mixture`), or something that is only worth computing when it is read
(`Deferred`). Every message is immutable and acts as the array that Serket would have sent,
and wherever a message is expected a plain array is accepted.
"""

from kserket.core.messages.combining import (
    as_categorical,
    as_gaussian,
    change,
    is_categorical,
    join,
    missing_rows,
    product,
    silent,
    without_gaps,
)
from kserket.core.messages.kinds import (
    SUM_TOLERANCE,
    Categorical,
    Deferred,
    Gaussian,
    Message,
    Mixture,
)

__all__ = [
    "SUM_TOLERANCE",
    "Categorical",
    "Deferred",
    "Gaussian",
    "Message",
    "Mixture",
    "as_categorical",
    "as_gaussian",
    "change",
    "is_categorical",
    "join",
    "missing_rows",
    "product",
    "silent",
    "without_gaps",
]
