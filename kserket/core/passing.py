"""Messages passed among the modules of a graph in TensorFlow operations.

The one loop over messages of `Graph.predict` and of an exported graph. What a module concludes is
its `tensor_infer`; who hears whom, and how often, is decided here.
"""

import copy

import tensorflow as tf

from kserket.core import messages, tensors
from kserket.core.mailbox import DataBox, Mailbox, reader_of, seats
from kserket.core.row_counts import row_sets

MAX_PASSES, TOLERANCE = 50, 1e-8  # of a served graph: settled better than predict's


def conclude(hook, terms, *arguments):
    """Calls `tensor_infer` and its like, with the module's terms where it has any.

    Args:
        hook: Bound method of a module.
        terms: What its `terms` returned, as tensors, or None.
        *arguments: What the hook takes first.
    """
    return hook(*arguments, terms) if terms else hook(*arguments)


def source_of(module):
    """The module itself, or the one whose messages it passes on."""
    while module.passes_through:
        module = module.inputs[0]
    return module


class TensorBox(Mailbox):
    """The mailbox of a module while messages are tensors."""

    algebra = tensors


class State:
    """All messages of a pass.

    Attributes:
        boxes: Dict from module to `Mailbox`.
        answers: Dict from module (observations left out) to its posterior or, without one, its
            evidence.
        change: The largest change of a row's messages in the last pass, of a row that had not
            settled before; 0 where one pass is enough.
    """

    def __init__(self, boxes, answers):
        self.boxes, self.answers, self.change = boxes, answers, tf.constant(0.0, "float64")


class Passing:
    """Passes messages up and down a graph until none changes any more.

    Modules that nothing above can change run once. The others start from messages from above that
    are uniform. A row whose messages have settled no longer changes, whatever other rows do, so
    that answers do not depend on what else is asked for; where a module links samples, all go on
    together.

    Args:
        graph: The `Graph`, every module of which has a rule on tensors.
        beliefs: `Beliefs` of any data: who speaks to whom, in messages of which kind and width.
        dtype: Precision of messages.
        predicts_data: Whether what readers predict of observations is wanted, too.

    Raises:
        TypeError: If a module hears from above what is not class probabilities.
    """

    def __init__(self, graph, beliefs, dtype="float64", predicts_data=False):
        self.dtype, self.predicts_data = dtype, predicts_data
        self.observations = list(graph.observations.values())
        self.learners = [module for module in graph.modules if module not in self.observations]
        self.links_samples = any(module.links_samples for module in self.learners)
        self._row_sets = row_sets(graph.modules)
        self._of_data = [m for m in graph.modules if source_of(m) in self.observations]
        said = {
            module: {} if module in self._of_data else beliefs.boxes[module].backward
            for module in self.learners
        }
        self.fixed, self.moving, self._unclassified = [], [], set()
        for module in self.learners:
            moves = self._listens(module, said) or any(
                source in self.moving or (source in said and said[source].keys() - {module})
                for source in module.inputs
            )
            (self.moving if moves else self.fixed).append(module)
        self._said = {
            (module, reader): (messages.is_categorical(message), message.shape[1:])
            for module in self.moving
            for reader, message in said[module].items()
        }

    def _listens(self, module, said):
        """Whether something comes from above that changes what the module concludes."""
        if not said[module] or not module.evidence_uses_prior:
            return False
        if not module.passes_through and not all(
            map(messages.is_categorical, said[module].values())
        ):
            raise TypeError(
                f"The graph cannot be exported: what {module.get_name()} hears from above are no "
                "class probabilities, and they change what it concludes."
            )
        return True

    def __call__(self, data, terms, max_passes=MAX_PASSES, tolerance=TOLERANCE):
        """Lets messages settle.

        Args:
            data: Dict from `Observation` to tensor (N, ...), rows of NaN missing.
            terms: Dict from module to its terms, tensors, or None.
            max_passes: Most passes, a number or a tensor.
            tolerance: The change of a message that no longer counts: total variation of class
                probabilities, the relative change of vectors.

        Returns:
            A `State`.
        """
        boxes = {module: TensorBox() for module in self.learners}
        boxes |= {module: DataBox(tf.cast(part, self.dtype)) for module, part in data.items()}
        state = State(boxes, {})
        self._pass(self.fixed, state, terms)
        if not self.moving:
            return state
        counts = self._count_rows(data, terms)
        for (module, reader), (is_categorical, shape) in self._said.items():
            size = counts[self._row_sets[module]]
            zeros = tf.zeros([size, *shape], self.dtype)  # before anything is said: uniform
            uniform = tensors.from_log(zeros) if is_categorical else zeros
            boxes[module].backward[reader] = uniform
        passes, kinds = 0, None
        while kinds != self._kinds(state):  # until messages have their final kinds
            kinds = self._kinds(state)
            self._pass(self.moving, state, terms)
            passes += 1
        size = tf.constant(1) if self.links_samples else counts[self._row_sets[self.moving[0]]]
        return self._settle(state, terms, passes, max_passes, tolerance, size)

    def _count_rows(self, data, terms):
        """How many rows the modules of each set send: dict from its number to a tensor."""
        counts = {self._row_sets[module]: tf.shape(part)[0] for module, part in data.items()}
        for module in self.learners:
            if module.num_rows and self._row_sets[module] not in counts:
                counts[self._row_sets[module]] = module.tensor_num_rows(terms[module])
        return counts

    def predictions(self, state, terms):
        """What readers say of observations, their mean: dict from `Observation` to tensor.

        Args:
            state: What a call returned, of `Passing(predicts_data=True)`.
            terms: As in a call.
        """
        predicted = {}
        for module in self.learners:
            if module.sends_back and any(source in self.observations for source in module.inputs):
                for source, message in self._predict(module, state, terms[module]):
                    predicted.setdefault(source, []).append(message)
        return {source: sum(parts) / len(parts) for source, parts in predicted.items()}

    def _predict(self, module, state, terms):
        """Pairs of observation and what a module predicts of it."""
        decoded = [None] * len(module.inputs)
        if module.tensor_decode is not None:
            latent, evidence = tensors.as_array(state.answers[module]), state.boxes[module].forward
            prior, missing = state.boxes[module].prior(), tensors.missing_mask(evidence)
            if module in self._unclassified and prior is not None and missing is not None:
                expected = tf.cast(tensors.as_array(prior), latent.dtype)  # of rows not observed
                latent = tf.where(_column(missing, latent), expected, latent)
            decoded = conclude(module.tensor_decode, terms, latent)
        for source, seat, other in zip(module.inputs, seats(module), decoded, strict=True):
            if source in self.observations:
                message = state.boxes[source].backward.get(seat, other)
                if message is not None:
                    yield source, tensors.as_array(message)

    def _pass(self, modules, state, terms):
        """Lets modules conclude once, from the data upwards."""
        boxes = state.boxes
        for module in modules:
            inputs = [boxes[source].forward_for(module) for source in module.inputs]
            prior = boxes[module].prior() if module.evidence_uses_prior else None
            inference = conclude(module.tensor_infer, terms[module], inputs, prior)
            evidence = tensors.silenced(inference.evidence)
            boxes[module].forward = tensors.cast(evidence, self.dtype)
            answer = inference.posterior
            if answer is None:
                answer = evidence
                self._unclassified.add(module)
            state.answers[module] = tensors.as_array(answer)
            parts = zip(module.inputs, seats(module), inference.downward, strict=True)
            for source, seat, message in parts:
                is_wanted = source not in self._of_data or (
                    source in self.observations and self.predicts_data
                )
                if message is not None and module.sends_back and is_wanted:
                    if tensors.is_categorical(message):
                        message = tensors.Categorical(message.log_probs)  # a prior of every row
                    boxes[source].backward[seat] = tensors.cast(message, self.dtype)

    def _settle(self, state, terms, passes, max_passes, tolerance, size):
        """Passes on, until no row changes by more than `tolerance`."""

        def step(count, active, change, numbers):
            before, after = self._unflatten(state, numbers), self._unflatten(state, numbers)
            self._pass(self.moving, after, terms)
            rows, now = self._change(before, after), self._flatten(after)
            if not self.links_samples:
                rows = tf.where(active, rows, change)
                now = [
                    tf.where(_column(active, a), a, b) for a, b in zip(now, numbers, strict=True)
                ]
            return count + 1, rows > tolerance, rows, now

        start = tf.fill([size], tf.constant(float("inf"), self.dtype))
        _, active, change, numbers = tf.while_loop(
            lambda count, active, change, numbers: (count < max_passes) & tf.reduce_any(active),
            step,
            (tf.constant(passes), tf.ones([size], tf.bool), start, self._flatten(state)),
        )
        state = self._unflatten(state, numbers)
        state.change = tf.reduce_max(tf.where(active, change, tf.zeros_like(change)))
        return state

    def _kinds(self, state):
        """Which kinds of message come from above."""
        heard = [part for m in self.moving for part in state.boxes[m].backward.values()]
        return [(type(part), [leaf is None for leaf in tf.nest.flatten(part)]) for part in heard]

    def _change(self, before, after):
        """How much the messages of each row changed that somebody hears, (N,): the largest.

        Where samples are linked, (1,): the mean over rows.
        """
        changes = {}
        for module in self.moving:
            old, new = before.boxes[module], after.boxes[module]
            pairs = [(old.forward, new.forward)]
            pairs += [(old.backward[reader], part) for reader, part in new.backward.items()]
            together = changes.setdefault(self._row_sets[module], [])
            together += [_difference(*pair) for pair in pairs]
        largest = [tf.reduce_max(tf.stack(together), axis=0) for together in changes.values()]
        if not self.links_samples:
            return largest[0]
        return tf.reduce_max(tf.stack([tf.reduce_mean(rows) for rows in largest]), keepdims=True)

    def _parts(self, state):
        """Everything in a state that further passes change, in one order."""
        parts = [state.boxes[module].forward for module in self.moving]
        parts += [state.answers[module] for module in self.moving]
        for box in state.boxes.values():
            parts += [part for seat, part in box.backward.items() if reader_of(seat) in self.moving]
        return parts

    def _flatten(self, state):
        """The tensors of `_parts`, one list."""
        return [part for part in tf.nest.flatten(self._parts(state)) if part is not None]

    def _unflatten(self, like, numbers):
        """A state with other tensors in the places of those of `_flatten`."""
        numbers = iter(numbers)
        parts = self._parts(like)
        flat = [None if leaf is None else next(numbers) for leaf in tf.nest.flatten(parts)]
        parts = iter(tf.nest.pack_sequence_as(parts, flat))
        state = State(
            {module: copy.copy(box) for module, box in like.boxes.items()}, dict(like.answers)
        )
        for module in self.moving:
            state.boxes[module].forward = next(parts)
        for module in self.moving:
            state.answers[module] = next(parts)
        for box in state.boxes.values():
            box.backward = {
                seat: next(parts) if reader_of(seat) in self.moving else part
                for seat, part in box.backward.items()
            }
        return state


def _difference(before, after):
    """How much each row (N,) of a message changed; missing rows do not."""
    categorical = tensors.is_categorical(after)
    before, after = tensors.as_array(before), tensors.as_array(after)
    before, after = (tf.reshape(part, [tf.shape(part)[0], -1]) for part in (before, after))
    if categorical:
        change = 0.5 * tf.reduce_sum(tf.abs(after - before), axis=1)
    else:
        size = tf.maximum(tf.norm(after, axis=1), tf.ones([], after.dtype))
        change = tf.norm(after - before, axis=1) / size
    return tf.where(tf.math.is_nan(change), tf.zeros_like(change), change)


def _column(rows, like):
    """A mask (N,) that is broadcast over what else `like` (N, ...) has."""
    return tf.reshape(rows, [-1] + [1] * (len(like.shape) - 1))
