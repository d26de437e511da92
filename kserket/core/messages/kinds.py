"""The kinds of message, under the names by which pickles know them."""

from kserket.core.messages.categorical import SUM_TOLERANCE, Categorical
from kserket.core.messages.deferred import Deferred
from kserket.core.messages.gaussian import Gaussian
from kserket.core.messages.message import Message
from kserket.core.messages.mixture import Mixture

__all__ = ["SUM_TOLERANCE", "Categorical", "Deferred", "Gaussian", "Message", "Mixture"]
