"""A network that the user gives as an option: called, with errors that name the option."""

import math
import re

import keras


def known_input_shapes(network):
    """The shapes (None, ...) of the inputs that a network was built for; [] if it is not built.

    Args:
        network: Keras model or layer, or another function of a tensor.
    """
    inputs = getattr(network, "inputs", None)
    if not isinstance(inputs, list) or not all(isinstance(x, keras.KerasTensor) for x in inputs):
        return []
    return [tuple(x.shape) for x in inputs]


def call(option, network, x, role):
    """What a network returns for a symbolic tensor.

    Args:
        option: Name of the option that the network was given as.
        network: Keras model or layer, or another function of a tensor.
        x: Tensor that `keras.Input` made.
        role: What x stands for, such as "data".

    Returns:
        A tensor, or tensors in a list, tuple or dict.

    Raises:
        ValueError: If the network does not take x, or returns something else.
    """
    try:
        output = network(x)
    except Exception as error:  # whatever a user's network raises
        raise ValueError(
            f"`{option}` must take {role} of shape {tuple(x.shape)}. "
            f"{_cause(network, tuple(x.shape), error)}"
        ) from error
    if not all(hasattr(part, "shape") for part in keras.tree.flatten(output)):
        raise ValueError(f"`{option}` must return tensors. Received: one that returns {output}")
    return output


def shapes_of(output):
    """The shapes of what `call` returned, as it was arranged."""
    return keras.tree.map_structure(lambda part: tuple(part.shape), output)


def reason(error):
    """What an error says, in one line, without the frame that Keras puts around it."""
    text = str(error).strip()
    framed = re.search(r"\x1b\[1m(.*?)\x1b\[0m", text, re.DOTALL)
    if framed:
        return framed.group(1).strip().splitlines()[-1]
    return (text or type(error).__name__).splitlines()[0]


def _cause(network, wanted, error):
    """Why a network does not take an input, and what helps."""
    takes = known_input_shapes(network)
    if isinstance(network, keras.Sequential) and not network.layers:
        return "Received: a model without layers. Add some."
    if len(takes) > 1:
        return f"Received: one of several inputs, {takes}. Give one of a single input."
    if takes in ([], [wanted]):
        return f"Called with it, it raises {type(error).__name__}: {reason(error)}"
    text = f"Received: one that takes {takes[0]}. Make it with keras.Input({wanted[1:]})"
    if None not in takes[0][1:] and math.prod(takes[0][1:]) == math.prod(wanted[1:]):
        return f"{text}, followed by keras.layers.Reshape({takes[0][1:]})."
    return f"{text}."
