"""What one pass of a module over its inputs concludes."""

from typing import Any, NamedTuple

from kserket.core import messages


class Inference(NamedTuple):
    """What one pass of a module over its inputs concludes.

    Attributes:
        evidence: What the inputs say about the module's latent variable; it goes up.
        downward: A list with one message per input; None sends nothing to that one.
        posterior: `Categorical`: evidence times what came from above; None for a module that
            does not classify.
    """

    evidence: Any
    downward: list[Any]
    posterior: messages.Categorical | None = None


def as_inference(module: Any, inference: Any) -> Inference:
    """What a module's `infer` returned, its posterior as a `Categorical` where it was an array.

    Args:
        module: The `Module`.
        inference: What was returned.

    Returns:
        An `Inference`.

    Raises:
        TypeError: If it is something else.
        ValueError: If the posterior holds no class probabilities.
    """
    if not isinstance(inference, Inference):
        raise TypeError(
            f"infer() of {module.get_name()} must return a kserket.Inference(evidence, downward, "
            f"posterior). Received: {type(inference).__name__}"
        )
    if inference.posterior is None:
        return inference
    try:
        return inference._replace(posterior=messages.as_categorical(inference.posterior))
    except ValueError as error:
        raise ValueError(
            f"The posterior of {module.get_name()} holds no class probabilities. {error}"
        ) from error
