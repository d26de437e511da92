"""What the views that learn nothing have in common."""

from __future__ import annotations

from typing import Any

from kserket.core.module import Module


class Description(Module):
    """Base of modules that describe each sample by itself, learn nothing and draw nothing.

    A subclass writes `infer` and `tensor_infer`.

    Args:
        name: Module name.
    """

    links_samples = False
    evidence_uses_prior = False
    predicts_inputs = False
    draws_inputs = False

    def __init__(self, name: str) -> None:
        super().__init__(name, learnable=False)

    def update(self) -> None:
        """Reads what is below and sends its description."""
        self.set_forward_msg(self.infer(self.get_messages().inputs, None).evidence)

    def terms(self) -> Any:
        return ()
