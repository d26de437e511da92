"""The chain's rule in TensorFlow operations against the recursions in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from kserket.inference import chain_passes, durations, markov_chain, reported_chain
from kserket.inference.sequences import check_lengths
from kserket.mm import rule


def context(log_evidence, initial, transitions, lengths=None, dtype="float64", of=rule.context):
    """`rule.context`, normalized, of sequences of these lengths."""
    starts = None
    if lengths is not None:
        starts = np.zeros(len(log_evidence), bool)
        starts[np.cumsum(lengths, dtype=int) - np.array(lengths, int)] = True
    arguments = (tf.constant(part, dtype) for part in (log_evidence, initial, transitions))
    return markov_chain.normalize(of(*arguments, starts).numpy().astype("float64"))


def chain(num_states, concentration=1.0, seed=0):
    rng = np.random.default_rng(seed)
    initial = rng.dirichlet(np.ones(num_states))
    return initial, rng.dirichlet(np.full(num_states, concentration), num_states)


def lasting(log_evidence, initial, _, starts=None):
    """`rule.lasting_context` of geometric durations, those of `chain(3)`."""
    prior = durations.Prior("negative_binomial", 4, 0.1)
    laws, others = durations.from_transitions(chain(3)[1], prior)
    others = tf.constant(others, log_evidence.dtype)
    return rule.lasting_context(log_evidence, initial, others, laws.lasting(), starts)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize(
    "num_states, lengths",
    [
        (3, [1]),
        (3, [2]),
        (1, [7]),
        (4, [16]),
        (4, [17]),
        (3, [1, 1, 1]),
        (3, [30, 1, 50, 20]),
        (5, [3] * 40),
        (6, [400]),
    ],
)
def test_blocks_equal_the_recursion(num_states, lengths, dtype, tolerance):
    rng = np.random.default_rng(sum(lengths))
    log_evidence = 3.0 * rng.normal(size=(sum(lengths), num_states)) + 100.0
    log_evidence[rng.random(len(log_evidence)) < 0.1] = 0.0  # missing steps
    parameters = chain(num_states)
    expected = markov_chain.smooth(log_evidence, *parameters, lengths).log_context
    found = context(log_evidence, *parameters, lengths, dtype)
    np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=tolerance)
    if len(lengths) == 1:
        alone = context(log_evidence, *parameters, None, dtype)
        np.testing.assert_allclose(alone, found, atol=tolerance)


@pytest.mark.parametrize("dtype, sharpness", [("float64", 600.0), ("float32", 60.0)])
def test_sure_evidence_that_contradicts_itself(dtype, sharpness):
    """Blocks hold states apart whose evidence differs by more than a precision's range."""
    rng = np.random.default_rng(0)
    told = rng.integers(4, size=500)
    log_evidence = np.where(told[:, None] == np.arange(4), 0.0, -sharpness)
    parameters = chain(4)
    expected = markov_chain.smooth(log_evidence, *parameters).log_context
    found = context(log_evidence, *parameters, dtype=dtype)
    np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lengths", [None, [1, 9, 1, 19]])
def test_zeros_are_exact(lengths, dtype):
    """Sustained evidence for a state that cannot come back does not bring it back."""
    rng = np.random.default_rng(0)
    transitions = np.array([[0.6, 0.3, 0.1], [0.0, 0.7, 0.3], [0.0, 0.0, 1.0]])
    told = np.concatenate([[0], np.repeat([2, 0], [9, 20])])
    log_evidence = np.where(told[:, None] == np.arange(3), 0.0, -60.0) + rng.normal(size=(30, 3))
    log_evidence[3] = [-800.0, -800.0, 0.0]
    parameters = np.array([1.0, 0.0, 0.0]) if lengths is None else chain(3)[0], transitions
    checked = check_lengths(lengths, 30)
    expected = chain_passes.smooth(log_evidence, *parameters, checked).log_context
    found = context(log_evidence, *parameters, lengths, dtype, rule.exact_context)
    smoothed = markov_chain.smooth(log_evidence, *parameters, lengths).log_context
    np.testing.assert_allclose(np.exp(smoothed), np.exp(expected), atol=1e-12)
    np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=1e-4)
    if dtype == "float64":
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)


def test_what_is_reported_counts_in_full():
    logs = np.array([[0.0, -800.0, -900.0], [-3.0, -2.0, -1.0]])
    for reports in (np.eye(3), chain(3)[1]):
        found = rule.state_evidence(tf.constant(logs), tf.constant(reports)).numpy()
        expected = reported_chain.state_evidence(logs, reports)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("of", [rule.context, rule.exact_context, lasting])
@pytest.mark.parametrize("lengths", [None, []])
def test_no_step_is_no_answer(of, lengths):
    assert context(np.zeros((0, 3)), *chain(3), lengths, of=of).shape == (0, 3)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize("of", [rule.context, rule.exact_context, lasting])
def test_the_rule_needs_built_in_operations_only(of):
    """LiteRT takes it, for any number of steps."""
    initial, transitions = chain(3)

    @tf.function(input_signature=[tf.TensorSpec((None, 3), "float32")])
    def serve(log_evidence):
        parameters = (tf.constant(part, "float32") for part in (initial, transitions))
        return of(log_evidence, *parameters)

    module = tf.Module()
    module.serve = serve
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [serve.get_concrete_function()], module
    )
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    for num_steps in (1, 20):
        log_evidence = np.random.default_rng(1).normal(size=(num_steps, 3)).astype("float32")
        position = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(position, log_evidence.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(position, log_evidence)
        interpreter.invoke()
        found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        expected = context(log_evidence, initial, transitions)
        np.testing.assert_allclose(markov_chain.normalize(found), expected, atol=1e-4)
