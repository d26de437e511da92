"""Keras models that are exported with data as their only inputs."""

from typing import Any

from kserket.core.named_columns import NamedColumns
from kserket.core.options import check_format, check_path
from kserket.typing import PathLike


class DataExport(NamedColumns):
    """Base of the models whose `export` gives what `predict` gives of data.

    A subclass writes `_check_built` and `_signature`.
    """

    def export(
        self,
        filepath: PathLike,
        format: str = "tf_saved_model",
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Exports what `predict` gives, with data as the only inputs.

        Args:
            filepath: Folder (SavedModel) or file.
            format: As in `keras.Model.export`.
            input_signature: By default float32 data of any number of rows.
            **kwargs: What `keras.Model.export` takes.

        Raises:
            RuntimeError: If the model has learned nothing yet.
            TypeError: If `filepath` is no path, or `format` no string.
        """
        check_path(filepath=filepath)
        check_format(format)
        self._check_built()
        if input_signature is None:
            input_signature = self._signature()
        super().export(filepath, format=format, input_signature=input_signature, **kwargs)

    def _check_built(self):
        """Raises RuntimeError if the model has learned nothing yet."""
        raise TypeError(f"{type(self).__name__} must define _check_built().")

    def _signature(self):
        """The inputs of an export: a list of `keras.layers.InputSpec`."""
        raise TypeError(f"{type(self).__name__} must define _signature().")
