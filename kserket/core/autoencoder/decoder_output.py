"""What a decoder's numbers are: read off the operations at its end."""

import tensorflow as tf
from keras import ops

PROBABILITIES = {"Sigmoid": "sigmoid", "Softmax": "softmax", "Clip": "hard_sigmoid"}
# The range of other activations, as values and as what a sigmoid makes of them.
BOUNDED = {
    "Relu": ("relu", "none is below 0.5"),
    "Relu6": ("relu6", "none is below 0.5"),
    "Softplus": ("softplus", "none is below 0.5"),
    "Exp": ("exponential", "none is below 0.5"),
    "Tanh": ("tanh", "all lie between 0.27 and 0.73"),
    "Softsign": ("softsign", "all lie between 0.27 and 0.73"),
}
# Operations that move values about and make no new ones, or only values between them.
_MOVES = {
    *("Cast", "Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose", "ConcatV2"),
    *("StridedSlice", "Slice", "GatherV2", "Tile", "Pad", "PadV2", "MirrorPad", "MaxPool"),
    *("AvgPool", "ResizeNearestNeighbor", "ResizeBilinear"),
}
EPSILON = 1e-7  # a probability is no closer to 0 or 1, as in Keras' cross entropies


def activation_of(network, latent_dim, dtype, training=False):
    """The activation that a network ends in, reshaping and the like behind it aside.

    Args:
        network: Keras model from z (N, L) to one tensor.
        latent_dim: L.
        dtype: Type of z.
        training: Whether layers act as in training.

    Returns:
        The TensorFlow name of the operation: a key of `PROBABILITIES` or `BOUNDED`, or None where
        the network ends in something else, or in parts that differ.
    """
    trace = tf.function(lambda z: network(z, training=training), autograph=False)
    graph = trace.get_concrete_function(tf.TensorSpec((None, latent_dim), dtype)).graph
    return _activation(graph.outputs[0].op)


def _activation(op):
    if op.type in _MOVES:
        sources = op.inputs[:-1] if op.type == "ConcatV2" else op.inputs[:1]
        found = {_activation(source.op) for source in sources}
        return found.pop() if len(found) == 1 else None
    if _clips(op):
        return "Clip"
    return op.type if op.type in {*PROBABILITIES, *BOUNDED} else None


def _clips(op):
    """Whether an operation is the last of those that clip to [0, 1], as `hard_sigmoid` does."""
    if op.type == "RealDiv":  # relu6(x + 3) / 6
        return op.inputs[0].op.type == "Relu6" and _is_constant(op.inputs[1], 6.0)
    if op.type == "ClipByValue":
        return _is_constant(op.inputs[1], 0.0) and _is_constant(op.inputs[2], 1.0)
    ends = {"Maximum": (0.0, "Minimum", 1.0), "Minimum": (1.0, "Maximum", 0.0)}
    if op.type not in ends:
        return False
    outer, other, inner = ends[op.type]
    before = op.inputs[0].op
    return (
        _is_constant(op.inputs[1], outer)
        and before.type == other
        and _is_constant(before.inputs[1], inner)
    )


def _is_constant(tensor, value):
    return tf.get_static_value(tensor) == value


def logits(probabilities):
    """The logits of probabilities, in a traced function: those that a sigmoid was taken of.

    Where something else than a sigmoid made them, their own, log p - log(1 - p), with p in
    [EPSILON, 1 - EPSILON].

    Args:
        probabilities: Symbolic tensor (N, ...).

    Returns:
        Tensor of that shape.
    """
    found = _before_sigmoid(probabilities)
    if found is not None:
        return found
    clipped = ops.clip(ops.cast(probabilities, "float32"), EPSILON, 1 - EPSILON)
    return ops.log(clipped) - ops.log1p(-clipped)


def _before_sigmoid(tensor):
    """What a sigmoid was taken of, moved as its values were; None where that is not known."""
    op = tensor.op
    if op.type == "Sigmoid":
        return op.inputs[0]
    if op.type == "ConcatV2":
        parts = [_before_sigmoid(part) for part in op.inputs[:-1]]
        return None if any(part is None for part in parts) else tf.concat(parts, op.inputs[-1])
    if op.type not in _AGAIN:
        return None
    found = _before_sigmoid(op.inputs[0])
    return None if found is None else _AGAIN[op.type](found, op)


def _sliced(x, op):
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    begin, end, strides = op.inputs[1:]
    return tf.raw_ops.StridedSlice(
        input=x,
        begin=begin,
        end=end,
        strides=strides,
        **{name: op.get_attr(name) for name in masks},
    )


_AGAIN = {
    "Cast": lambda x, op: tf.cast(x, op.outputs[0].dtype),
    "Identity": lambda x, op: x,
    "Reshape": lambda x, op: tf.reshape(x, op.inputs[1]),
    "Squeeze": lambda x, op: tf.reshape(x, tf.shape(op.outputs[0])),
    "ExpandDims": lambda x, op: tf.reshape(x, tf.shape(op.outputs[0])),
    "Transpose": lambda x, op: tf.transpose(x, op.inputs[1]),
    "StridedSlice": _sliced,
    "Slice": lambda x, op: tf.slice(x, op.inputs[1], op.inputs[2]),
}
