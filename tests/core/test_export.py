"""What a graph has learned, served by TensorFlow alone: the same answers as graph.predict."""

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from grouped_views import summed_views, views_and_words

import kserket as srk
from kserket import gmm, mlda, mm, vae
from kserket.core import tensors
from kserket.core.beliefs import pass_messages

X = srk.datasets.load_digits()[0][:250]
POINTS = srk.datasets.make_mixture(200, 3, 2, seed=1).x


@pytest.fixture(scope="module")
def digits():
    """VAE+GMM, fitted well enough that probabilities are not all 0 and 1."""
    images = srk.Observation(X, name="images")
    vae1 = vae.VAE(5, itr=20, batch_size=32, KL_param=0.1, save_dir=None)
    gmm1 = gmm.GMM(6, itr=10, save_dir=None)
    vae1.connect(images)
    gmm1.connect(vae1)
    graph = srk.Graph(gmm1, seed=0)
    graph.fit(2, verbose=0)
    assert len(np.unique(graph.predict(X).argmax(axis=1))) > 2
    return graph


def mixture_graph(inference="variational", **options):
    gmm1 = gmm.GMM(3, itr=10, inference=inference, save_dir=None, seed=0)
    gmm1.connect(srk.Observation(POINTS, **options))
    graph = srk.Graph(gmm1)
    graph.fit(1, verbose=0)
    return graph


def serve(graph, name="classify", **options):
    """A signature of the exported graph, as a function on arrays."""
    graph.export("served", **options)
    loaded = tf.saved_model.load("served")
    function = loaded.signatures[name]

    def call(**inputs):
        specs = function.structured_input_signature[1]
        outputs = function(**{k: tf.constant(v, specs[k].dtype) for k, v in inputs.items()})
        return {key: value.numpy() for key, value in outputs.items()}

    call.loaded = loaded  # which owns the variables
    return call


WITHOUT_KSERKET = """
    import sys
    sys.modules["kserket"] = None  # importing it fails
    import keras, numpy as np, tensorflow as tf

    data = np.load("data.npz")
    answers = {}
    for graph, name in {"digits": "images", "points": "obs"}.items():
        x = tf.constant(data[graph], "float32")
        loaded = tf.saved_model.load(graph)
        for signature in ("serving_default", "classify", "encode"):
            for key, value in loaded.signatures[signature](**{name: x}).items():
                answers[f"{graph}/{signature}/{key}"] = value
        layer = keras.layers.TFSMLayer(graph, call_endpoint="classify")
        answers[f"{graph}/layer/gmm"] = layer(x)["gmm"]
        interpreter = tf.lite.Interpreter(f"{graph}.tflite")
        runner = interpreter.get_signature_runner("classify")
        answers[f"{graph}/litert/gmm"] = runner(**{name: x.numpy()})["gmm"]
        answers[f"{graph}/litert_one/gmm"] = runner(**{name: x.numpy()[:1]})["gmm"]
    decode = tf.saved_model.load("digits").signatures["decode"]
    answers["digits/decode/images"] = decode(vae=answers["digits/encode/vae"])["images"]
    np.savez("answers.npz", **answers)
"""


def test_served_without_kserket_the_answers_are_those_of_predict(digits):
    graphs = {"digits": (digits, X), "points": (mixture_graph(), POINTS)}
    for name, (graph, _) in graphs.items():
        signatures = graph.export(name)
        assert signatures == ["classify", "encode", "decode", "generate"]
        assert graph.export(f"{name}.tflite", format="litert") == ["classify"]
    np.savez("data.npz", **{name: x for name, (_, x) in graphs.items()})
    code = [sys.executable, "-c", textwrap.dedent(WITHOUT_KSERKET)]
    subprocess.run(code, check=True, timeout=1200)
    answers = dict(np.load("answers.npz"))
    for name, (graph, x) in graphs.items():
        expected = graph.predict(x)
        for way in ("serving_default", "classify", "layer", "litert"):
            np.testing.assert_allclose(answers.pop(f"{name}/{way}/gmm"), expected, atol=1e-5)
        one = answers.pop(f"{name}/litert_one/gmm")
        np.testing.assert_allclose(one, expected[:1], atol=1e-5)
        np.testing.assert_allclose(answers.pop(f"{name}/encode/gmm"), expected, atol=1e-5)
    latent = digits["vae"].model.encode(X)
    np.testing.assert_allclose(answers.pop("digits/encode/vae"), latent[0], atol=1e-5)
    np.testing.assert_allclose(answers.pop("digits/encode/vae_variance"), latent[1], atol=1e-5)
    images = answers.pop("digits/decode/images")
    np.testing.assert_allclose(images, digits.predict(X, outputs="images"), atol=1e-5)
    assert not answers


def test_names_and_shapes_are_those_of_the_graph(digits):
    loaded = serve(digits).loaded
    takes = {
        name: {
            key: spec.shape.as_list()
            for key, spec in function.structured_input_signature[1].items()
        }
        for name, function in loaded.signatures.items()
    }
    assert takes.pop("serving_default") == takes["classify"]
    assert takes == {
        "classify": {"images": [None, 64]},
        "encode": {"images": [None, 64]},
        "decode": {"vae": [None, 5]},
        "generate": {"component": [None], "seed": []},
    }
    assert loaded.signatures["classify"].structured_outputs["gmm"].shape.as_list() == [None, 6]


@pytest.mark.parametrize("inference", ["variational", "gibbs"])
def test_a_mixture_of_data(inference):
    graph = mixture_graph(inference, allow_missing=True)
    rows = POINTS[:7].copy()
    rows[2] = np.nan  # not observed: its class is as probable as the class is frequent
    call = serve(graph, dtype="float64")
    np.testing.assert_allclose(call(obs=rows)["gmm"], graph.predict(rows), atol=1e-9)
    np.testing.assert_allclose(call(obs=rows[:1])["gmm"], graph.predict(rows[:1]), atol=1e-9)
    decode = serve(graph, "decode")(gmm=graph.predict(rows))
    predicted = graph.predict(rows, outputs="obs")  # observed rows stay as they are
    np.testing.assert_allclose(decode["obs"][2], predicted[2], atol=1e-5)


def test_rows_that_were_not_observed(digits):
    rows = np.where(np.arange(6)[:, None] % 2, np.nan, X[:6])
    answer = serve(digits)(images=rows)["gmm"]
    np.testing.assert_allclose(answer, digits.predict(rows), atol=1e-5)


def image_graph(shape):
    """VAE+GMM over samples of a shape, with a convolution where they are images."""
    data = np.random.default_rng(0).random((40, *shape)).astype("float32")
    encoder = None
    if len(shape) == 3:
        encoder = keras.Sequential([keras.Input(shape), keras.layers.Conv2D(2, 3, strides=2)])
    vae1 = vae.VAE(2, itr=2, batch_size=20, encoder=encoder, save_dir=None)
    gmm1 = gmm.GMM(2, itr=5, save_dir=None)
    vae1.connect(srk.Observation(data))
    gmm1.connect(vae1)
    graph = srk.Graph(gmm1, seed=0)
    graph.fit(1, verbose=0)
    return graph, data


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8), (4, 16), (16, 16, 1)])
def test_samples_of_any_shape(shape):
    graph, data = image_graph(shape)
    rows = data[:17].copy()
    rows[3] = np.nan  # not observed
    call = serve(graph)
    for part in (rows, rows[:1], data[:16]):
        answer = call(obs=part)["gmm"]
        np.testing.assert_allclose(answer, graph.predict(part), atol=1e-5)
    assert graph.export("graph.tflite") == ["classify"]
    assert os.path.isfile("graph.tflite")


def test_generated_data_are_those_of_the_component(digits):
    graph = mixture_graph()
    call = serve(graph, "generate")
    number = 4000
    for component in range(3):
        drawn = call(component=[component] * number, seed=1)["obs"]
        np.testing.assert_array_equal(drawn, call(component=[component] * number, seed=1)["obs"])
        assert not np.allclose(drawn, call(component=[component] * number, seed=2)["obs"])
        covariance = graph["gmm"].model.covariances[component]
        error = 5 * np.sqrt(np.diag(covariance) / number)
        assert (np.abs(drawn.mean(axis=0) - graph["gmm"].model.means[component]) < error).all()
        np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.15 * covariance.max())
    images = serve(digits, "generate")(component=[4] * 500, seed=0)["images"]
    expected = digits.generate(500, component=4, seed=0)
    np.testing.assert_allclose(images.mean(axis=0), expected.mean(axis=0), atol=0.1)
    assert (images >= 0).all() and (images <= 1).all()


@pytest.mark.parametrize("component", [[0, 3], [-1]])
def test_a_class_that_is_none_is_not_drawn(component):
    call = serve(mixture_graph(), "generate")
    with pytest.raises(tf.errors.InvalidArgumentError, match="classes of gmm, 0 to 2. Received"):
        call(component=component, seed=0)


def test_a_graph_without_its_data_is_exported_too():
    graph = mixture_graph()
    graph.save("graph.kserket", include_data=False)
    call = serve(srk.load_graph("graph.kserket"))
    np.testing.assert_allclose(call(obs=POINTS)["gmm"], graph.predict(POINTS), atol=1e-5)


# Messages that need several passes ----------------------------------------------------------


class Opinion(srk.LearningModule):
    """Draws each class message toward the mean of all, and says so to the module below."""

    def __init__(self, name, strength):
        super().__init__(name, save_dir=None)
        self.strength = strength

    def build_model(self, inputs):
        return keras.Sequential()

    def learn(self, inputs, prior, rng):
        return {}

    def infer(self, inputs, prior):
        probs = inputs[0].probs
        said = srk.Categorical.from_log(self.strength * np.log(0.1 + probs + probs.mean(axis=0)))
        return srk.Inference(said, [said], said)

    def tensor_infer(self, inputs, prior):
        probs = inputs[0].array
        mean = tf.reduce_mean(probs, axis=0)
        said = tensors.from_log(self.strength * tf.math.log(0.1 + probs + mean))
        return tensors.Inference(said, [said], said)


class Unread(Opinion):
    """An opinion of which LiteRT makes a file that its interpreter cannot open."""

    def tensor_infer(self, inputs, prior):
        said = inputs[0].log_probs[..., None]
        said = tf.einsum("ij,njk->nik", tf.eye(3, dtype=said.dtype), said)[..., 0]
        return super().tensor_infer([tensors.Categorical(said)], prior)


def test_a_litert_file_that_no_interpreter_opens_is_not_written():
    gmm1, above = gmm.GMM(3, itr=10, save_dir=None, seed=0), Unread("above", 0.5)
    gmm1.connect(srk.Observation(POINTS))
    above.connect(gmm1)
    graph = srk.Graph(above)
    graph.fit(1, verbose=0)
    with pytest.raises(ValueError, match="cannot run what comes of it: .*Export a SavedModel"):
        graph.export("opinion.tflite")
    assert not os.path.exists("opinion.tflite")
    assert "classify" in graph.export("opinion")


def test_messages_are_passed_until_they_settle():
    """Two modules above one mixture hear each other through it, again and again."""
    gmm1 = gmm.GMM(3, itr=10, save_dir=None, seed=0)
    gmm1.connect(srk.Observation(POINTS))
    above = [Opinion("left", 0.5), Opinion("right", 0.3)]
    for module in above:
        module.connect(gmm1)
    graph = srk.Graph(*above)
    graph.fit(1, verbose=0)
    call = serve(graph, dtype="float64")
    for size in (200, 9):
        expected = graph.predict(POINTS[:size], tolerance=1e-9, max_passes=200)
        answers = call(obs=POINTS[:size])
        assert answers.keys() == {"left", "right"}
        for name, answer in answers.items():
            np.testing.assert_allclose(answer, expected[name], atol=1e-5)
    with pytest.warns(UserWarning, match="not settled"):  # one pass would not have been enough
        once = graph.predict(POINTS, max_passes=1)["left"]
    assert np.abs(once - graph.predict(POINTS)["left"]).max() > 1e-3
    assert set(call.loaded.signatures) == {"serving_default", "classify", "encode", "decode"}


def markov_graph():
    """GMM+MM over a sequence that is hard to read point by point."""
    rng = np.random.default_rng(0)
    states = np.arange(120) // 4 % 3
    points = 1.5 * np.eye(3)[states] + rng.normal(size=(120, 3))
    gmm1 = gmm.GMM(3, itr=30, save_dir=None)
    mm1 = mm.MarkovModel(save_dir=None)
    gmm1.connect(srk.Observation(points))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(2, verbose=0)
    return graph, points


def test_a_markov_model_hears_the_samples_of_a_call_as_one_sequence():
    graph, points = markov_graph()
    call = serve(graph)
    for rows in (points, points[7:30], points[:1]):
        np.testing.assert_allclose(call(obs=rows)["mm"], graph.predict(rows), atol=1e-5)
    encode = serve(graph, "encode")(obs=points)
    np.testing.assert_allclose(encode["gmm"], graph.predict(points, outputs="gmm"), atol=1e-5)
    drawn = serve(graph, "generate")(component=[1] * 4000, seed=0)["obs"]
    expected = graph.generate(4000, component=1, seed=0)
    error = 6 * expected.std(axis=0) / np.sqrt(4000)
    assert (np.abs(drawn.mean(axis=0) - expected.mean(axis=0)) < error).all()


def test_a_row_that_cannot_be_read_is_answered_with_nan_alone():
    graph, points = markov_graph()
    call = serve(graph, dtype="float64")
    broken, missing = points.copy(), points.copy()
    broken[7, 1], broken[60] = np.nan, [0.0, np.inf, 1.0]
    missing[[7, 60]] = np.nan
    answer, expected = call(obs=broken)["mm"], graph.predict(missing)
    readable = np.setdiff1d(np.arange(len(points)), [7, 60])
    assert np.isnan(answer[[7, 60]]).all()
    np.testing.assert_allclose(answer[readable], expected[readable], atol=1e-6)
    np.testing.assert_allclose(call(obs=missing)["mm"], expected, atol=1e-6)
    assert call(obs=points[:0])["mm"].shape == (0, 3)


def test_names_of_any_letters():
    vae1 = vae.VAE(2, itr=2, batch_size=50, name="two words", save_dir=None)
    gmm1 = gmm.GMM(3, itr=5, name="größe", save_dir=None)
    mm1 = mm.MarkovModel(itr=2, n_init=1, name="a$b", save_dir=None)
    mlda1 = mlda.MLDA(3, itr=2, n_init=1, name="_hidden", save_dir=None)
    vae1.connect(srk.Observation(X[:60], name="画像"))
    gmm1.connect(vae1)
    mm1.connect(gmm1)
    mlda1.connect(mm1)
    graph = srk.Graph(mlda1, seed=0)
    graph.fit(1, verbose=0)
    answers = serve(graph, "encode")(x__=X[:9])
    assert answers.keys() == {"two_words", "two_words_variance", "gr__e", "a_b", "x_hidden"}
    np.testing.assert_allclose(answers["x_hidden"], graph.predict(X[:9]), atol=1e-5)


def test_names_that_become_one_are_numbered():
    modules = []
    for name in ("春", "夏"):
        modules.append(gmm.GMM(3, itr=5, name=name, save_dir=None))
        modules[-1].connect(srk.Observation(POINTS[:, : len(modules)], name=f"{name}のデータ"))
    graph = srk.Graph(*modules, seed=0)
    graph.fit(1, verbose=0)
    answers = serve(graph)(x_____=POINTS[:, :1], x______2=POINTS[:, :2])
    expected = graph.predict({"春のデータ": POINTS[:, :1], "夏のデータ": POINTS[:, :2]})
    np.testing.assert_allclose(answers["x_"], expected["春"], atol=1e-5)
    np.testing.assert_allclose(answers["x__2"], expected["夏"], atol=1e-5)


# Modules of one's own -----------------------------------------------------------------------


class Classifier(srk.LearningModule):
    """Any Keras model that maps data to class probabilities."""

    factor = 1.0
    tensor_infer = srk.LearningModule.keras_rule

    def build_model(self, inputs):
        x = keras.Input(np.shape(inputs[0])[1:])
        start = keras.initializers.RandomNormal(seed=0)
        return keras.Model(x, keras.layers.Dense(4, "softmax", kernel_initializer=start)(x))

    def learn(self, inputs, prior, rng):
        return {}

    def infer(self, inputs, prior):
        probs = self.model.predict(self.factor * np.asarray(inputs[0]), verbose=0)
        message = srk.Categorical(probs)
        return srk.Inference(message, [None], message)


def test_a_keras_model_of_ones_own_needs_nothing_more(digits):
    module = Classifier("two words", save_dir=None)
    module.connect(srk.Observation(X, name="my images"))
    graph = srk.Graph(module, seed=0)
    with pytest.raises(RuntimeError, match="learned nothing"):
        graph.export("served")
    graph.fit(1, verbose=0)
    answer = serve(graph)(my_images=X)["two_words"]
    np.testing.assert_allclose(answer, graph.predict(X), atol=1e-5)
    assert graph.export("graph.tflite") == ["classify"]
    assert os.path.isfile("graph.tflite")
    module.factor = 20.0
    with pytest.raises(ValueError, match=r"two words.*differs by.*infer\(\)"):
        graph.export("wrong")
    assert not os.path.exists("wrong")


def test_a_module_that_cannot_be_exported_is_named():
    class Doubler(srk.Module):
        def infer(self, inputs, prior):
            return srk.Inference(2 * np.asarray(inputs[0]), [None])

        def update(self):
            self.set_forward_msg(self.infer(self.get_observations(), None).evidence)

    doubler = Doubler("doubler")
    doubler.connect(srk.Observation(POINTS))
    graph = srk.Graph(doubler)
    graph.fit(1, verbose=0)
    with pytest.raises(TypeError, match="_doubler cannot be exported.*tensor_infer"):
        graph.export("served")


@pytest.mark.parametrize(
    "path, options, said",
    [
        ("served", {"format": "onnx"}, "'tf_saved_model' or 'litert'"),
        ("served", {"format": "litert"}, r"end in '\.tflite'"),
        ("served", {"dtype": "int8"}, "'float32' or 'float64'"),
    ],
)
def test_wrong_options(path, options, said):
    with pytest.raises(ValueError, match=said):
        mixture_graph().export(path, **options)


# Groups -----------------------------------------------------------------------------------


def test_groups_come_with_the_data_and_each_call_has_its_own():
    graph, (x, words), _ = views_and_words()
    classify, encode = serve(graph), serve(graph, "encode")
    for rows, group_idx in ((slice(None), np.arange(90) // 3), (slice(12), [0, 0, 1, 1, 2, 2] * 2)):
        graph["groupsum"].group_idx = group_idx
        data = {"views": x[rows], "words": words[: max(group_idx) + 1]}
        for left_out in ("", "views", "words"):
            part = {k: np.full_like(v, np.nan) if k == left_out else v for k, v in data.items()}
            expected = graph.predict(part, outputs=["gmm", "mlda"])
            assert graph.program.is_compiled
            inputs = part | {"groupsum_group_idx": group_idx}
            np.testing.assert_allclose(classify(**inputs)["mlda"], expected["mlda"], atol=1e-5)
            found = encode(**inputs)
            np.testing.assert_allclose(found["gmm"], expected["gmm"], atol=1e-5)
    assert len(found["gmm"]) == 12 and len(found["mlda"]) == 3


def test_a_view_that_cannot_be_read_leaves_its_group_without_an_answer():
    graph, (x, words), _ = views_and_words()
    encode, x = serve(graph, "encode"), x.copy()
    x[4, 0] = np.inf
    answers = encode(views=x, words=words, groupsum_group_idx=np.arange(90) // 3)
    assert np.flatnonzero(np.isnan(answers["mlda"]).any(axis=1)).tolist() == [1]
    assert np.flatnonzero(np.isnan(answers["gmm"]).any(axis=1)).tolist() == [4]


def test_groups_on_a_phone():
    graph, (x, words), _ = views_and_words()
    graph.export("graph.tflite")
    runner = tf.lite.Interpreter("graph.tflite").get_signature_runner("classify")
    data = {"views": x.astype("float32"), "words": words.astype("float32")}
    found = runner(**data, groupsum_group_idx=np.arange(90) // 3)["mlda"]
    np.testing.assert_allclose(found, graph.predict(data), atol=1e-3)


def test_a_chain_of_groups():
    points, groups = summed_views(20)
    mlda1, mm1 = mlda.MLDA(3, itr=5, n_init=1, save_dir=None), mm.MarkovModel(save_dir=None)
    mlda1.connect(groups)
    mm1.connect(mlda1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(2, verbose=0)
    groups.group_idx = np.arange(60) // 4
    compiled = graph.predict(points.x)
    assert graph.program.is_compiled and len(compiled) == 15
    by_infer = pass_messages(graph, {graph["obs"]: points.x}, 100, 1e-9).answer(mm1)
    np.testing.assert_allclose(compiled, by_infer, atol=1e-5)
