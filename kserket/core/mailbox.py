"""Where the messages of one module wait to be read."""

from typing import Any, NamedTuple

from kserket.core import messages


class Seat(NamedTuple):
    """A further connection of a reader to an observation that it reads already.

    Attributes:
        reader: The module that reads.
        number: Which of its connections to that observation, from 1.
    """

    reader: Any
    number: int

    def get_name(self) -> str:
        """The reader's name."""
        return self.reader.get_name()


def seats(reader: Any) -> list[Any]:
    """Under what each input of a module keeps what the module sends it.

    Args:
        reader: The `Module`.

    Returns:
        List, one entry per input: the module itself, or a `Seat` where it reads one again.
    """
    seen, places = {}, []
    for source in reader.inputs:
        number = seen[source] = seen.get(source, -1) + 1
        places.append(Seat(reader, number) if number else reader)
    return places


def reader_of(seat: Any) -> Any:
    """The module that sends under what `seats` returned; None of a message set by hand."""
    return seat.reader if isinstance(seat, Seat) else seat


class Mailbox:
    """What a module has said upwards and what its readers have said down to it.

    Messages from above are kept one per reader, so that several readers multiply and nobody
    hears itself: what reader r gets is the module's evidence times what came from the *other*
    readers (the cavity, by leaving out, never by dividing).

    Attributes:
        forward: The module's evidence, a message or an array; None before its first update.
        backward: Dict from reader, or `Seat`, to the message that it sent down. The key None
            holds one that was set by hand.
    """

    algebra = messages  # how messages of this kind are read and multiplied

    def __init__(self, forward=None):
        self.forward = forward
        self.backward = {}

    def prior(self, leaving_out=None):
        """The product of what came from above, or None.

        Args:
            leaving_out: A reader whose own message does not count.
        """
        everything = self.backward.items()
        return self.algebra.product(
            message
            for reader, message in everything
            if leaving_out is None or reader is not leaving_out
        )

    def forward_for(self, reader):
        """What `reader` may hear: the evidence, and for classes what the others say too."""
        others = self.prior(leaving_out=reader)
        if others is None or not self.algebra.is_categorical(self.forward):
            return self.forward
        return self.algebra.product([self.algebra.as_categorical(self.forward), others])


class DataBox(Mailbox):
    """The mailbox of data: what comes down is kept, and changes nothing."""

    def prior(self, leaving_out=None):
        return None

    def forward_for(self, reader):
        return self.forward
