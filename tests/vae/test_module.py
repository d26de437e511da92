"""`vae.VAE` as documented: signature, files, iterations, networks, recognition."""

import inspect
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, vae
from kserket.core.module import Module

N, D, L = 30, 5, 2


def make_data(num_samples=N, seed=0):
    """Data and labels as `np.loadtxt` gives them: all double precision."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_samples) % 3.0
    x = 0.2 + 0.3 * labels[:, None] + 0.05 * rng.normal(size=(num_samples, D))
    return np.clip(x, 0, 1), labels


def make(x=None, **options):
    options = {"itr": 3, "batch_size": 8, "save_dir": None, "seed": 0} | options
    observation = srk.Observation(make_data()[0] if x is None else x)
    module = vae.VAE(L, **options)
    module.connect(observation)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The documented example, learned for two rounds in a folder."""
    Module.reset_names()
    folder = tmp_path_factory.mktemp("run")
    data, data_category = make_data()
    obs = srk.Observation(data)
    vae1 = vae.VAE(L, itr=30, batch_size=8, KL_param=0.05, save_dir=folder, seed=0)
    with pytest.warns(UserWarning, match="category="):
        gmm1 = gmm.GMM(3, catogory=data_category, save_dir=folder, seed=0)
    vae1.connect(obs)
    gmm1.connect(vae1)
    for _ in range(2):
        vae1.update()
        gmm1.update()
    return folder, obs, vae1, gmm1


def test_signature_is_the_documented_one():
    parameters = inspect.signature(vae.VAE).parameters
    documented = {
        "latent_dim": inspect.Parameter.empty,
        "weight_stddev": 0.1,
        "itr": 5000,
        "name": "vae",
        "hidden_encoder_dim": 100,
        "hidden_decoder_dim": 100,
        "batch_size": None,
        "KL_param": 1,
        "mode": "learn",
    }
    positional = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    assert list(positional.items()) == list(documented.items())
    assert {"save_dir", "load_dir", "seed"} < parameters.keys() - positional.keys()


def test_files_hold_what_they_are_named_after(run):
    folder, obs, vae1, _ = run
    folder = folder / "module001_vae"
    z = np.loadtxt(folder / "z_learn.txt")
    assert_allclose(z, np.asarray(vae1.get_forward_msg()), rtol=1e-6)
    x_hat = np.loadtxt(folder / "x_hat_learn.txt")
    assert x_hat.shape == (N, D) and x_hat.min() >= 0 and x_hat.max() <= 1  # no logits
    assert_allclose(x_hat, vae1.model.decode(z), rtol=1e-4)
    assert_allclose(x_hat, np.asarray(obs.get_backward_msg()), rtol=1e-6)
    loss = np.loadtxt(folder / "loss.txt")
    assert loss.shape == (30,) and loss[-1] == pytest.approx(vae1.logs["loss"], rel=1e-6)
    names = dict(tf.train.list_variables(str(folder / "model.ckpt")))
    assert [D, 100] in names.values() and [L, 100] in names.values()


def test_sends_means_and_variances_of_q(run):
    _, obs, vae1, _ = run
    mean, variance = vae1.model.encode(obs.data)
    message = vae1.get_forward_msg()
    assert isinstance(message, srk.Gaussian)
    assert_array_equal(message.mean, mean)
    assert_array_equal(message.variance, variance)


def test_every_documented_argument_does_what_it_says():
    module = make(hidden_encoder_dim=7, hidden_decoder_dim=4, weight_stddev=0.02, KL_param=3)
    module.update()
    encoder, decoder = module.model.encoder, module.model.decoder
    assert encoder.get_layer("encoder_hidden").units == 7
    assert decoder.get_layer("decoder_hidden").units == 4
    assert float(module.model.kl_weight) == 3.0
    assert int(module.model.optimizer.iterations) == 3 * 4  # epochs of ragged batches
    fresh = vae.VAE(L, weight_stddev=0.02, seed=0, hidden_encoder_dim=200)
    model = fresh.build_model(module.read([make_data()[0]], None))
    kernel = model.encoder.get_layer("encoder_hidden").kernel
    assert np.std(kernel) == pytest.approx(0.02 * 0.88, rel=0.1)  # a normal cut at two deviations
    assert np.abs(kernel).max() <= 0.04 + 1e-6


def test_without_a_batch_size_iterations_are_steps_on_the_whole_data():
    module = make(itr=5, batch_size=None)
    module.update()
    assert int(module.model.optimizer.iterations) == 5


def test_rounds_are_warm():
    module = make()
    module.update()
    module.update()
    assert int(module.model.optimizer.iterations) == 2 * 3 * 4


@pytest.fixture
def half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def optimizer_values(module):
    optimizer = getattr(module.model.optimizer, "inner_optimizer", module.model.optimizer)
    return [variable.numpy() for variable in optimizer.variables]


def test_learning_goes_on_from_a_folder_in_half_precision(tmp_path, half_precision):
    module = make(save_dir=tmp_path)
    for _ in range(2):
        module.update()
    again = make(load_dir=module.folder)
    again.ensure_model(again.read([make_data()[0]], None), [[D]])
    for saved, loaded in zip(optimizer_values(module), optimizer_values(again), strict=True):
        assert_array_equal(saved, loaded)
    assert int(again.model.optimizer.iterations) == 2 * 3 * 4
    again.update()
    assert np.isfinite(again.logs["loss"])


@pytest.mark.parametrize(
    "before, after", [("float32", "mixed_float16"), ("mixed_float16", "float32")]
)
def test_a_folder_is_read_under_another_precision(before, after, tmp_path, half_precision):
    keras.config.set_dtype_policy(before)
    module = make(save_dir=tmp_path)
    module.update()
    keras.config.set_dtype_policy(after)
    again = make(load_dir=module.folder)
    again.ensure_model(again.read([make_data()[0]], None), [[D]])
    for saved, loaded in zip(optimizer_values(module), optimizer_values(again), strict=True):
        assert_array_equal(saved, loaded)


def test_learning_from_a_folder_goes_on_at_the_modules_own_rate(tmp_path):
    module = make(save_dir=tmp_path, learning_rate=0.01, KL_param=2)
    module.update()
    again = make(load_dir=module.folder, learning_rate=1e-4, KL_param=3)
    again.ensure_model(again.read([make_data()[0]], None), [[D]])
    assert float(again.model.optimizer.learning_rate) == pytest.approx(1e-4)
    assert again.kl_weight == 3
    assert int(again.model.optimizer.iterations) == 3 * 4


def test_an_optimizer_of_other_variables_starts_afresh():
    module, other = make(), make()
    module.update()
    other.ensure_model(other.read([make_data()[0]], None), [[D]])
    arrays = module.get_parameters()
    arrays["optimizer/99"] = np.float32(1.0)
    with pytest.warns(UserWarning, match="optimizer afresh"):
        other.set_parameters(arrays)
    assert int(other.model.optimizer.iterations) == 0
    for mine, saved in zip(other.model.get_weights(), module.model.get_weights(), strict=True):
        assert_array_equal(mine, saved)


def test_alpha_can_be_changed_between_rounds():
    module = make(learning_rate=1e-12)
    module.update()
    assert module.kl_weight == 1
    module.kl_weight = 50.0
    module.update()
    logs = module.logs
    assert logs["loss"] == pytest.approx(logs["reconstruction"] + 50 * logs["kl"], rel=1e-5)


def test_the_learning_rate_can_be_changed_between_rounds():
    module = make(learning_rate=0.02)
    assert module.learning_rate == 0.02
    module.update()
    before = module.model.get_weights()
    module.learning_rate = 1e-7
    module.update()
    for weight, expected in zip(module.model.get_weights(), before, strict=True):
        assert_allclose(weight, expected, atol=1e-5)
    assert module.get_config()["learning_rate"] == module.learning_rate == 1e-7
    with pytest.raises(ValueError, match="`learning_rate` must be a positive number. Received: 0"):
        module.learning_rate = 0


def test_a_message_from_above_that_is_not_finite_is_refused():
    module = make()
    module.set_backward_msg(np.full((N, L), np.nan))
    with pytest.raises(ValueError, match="The message from above .* not finite.*impute them.$"):
        module.update()


def test_messages_from_above_pull_the_latent_space():
    target = np.repeat([[3.0, -2.0]], N, axis=0)
    near, variance = [], {"plain": None, "sure": 0.01, "nothing": np.inf}
    for value in variance.values():
        module = make(itr=40, batch_size=None)
        spread = None if value is None else np.full((N, L), value)
        module.set_backward_msg(target if value is None else srk.Gaussian(target, spread))
        module.update()
        near.append(np.linalg.norm(module.get_forward_msg().mean.mean(axis=0) - target[0]))
        assert np.isfinite(module.logs["kl"])
    plain, sure, nothing = near
    assert max(plain, sure) < 1.0
    assert nothing > 3.0  # where nothing is known N(0, I) holds


def test_an_array_from_above_is_the_mean_of_unit_variance():
    results = []
    target = np.random.default_rng(0).normal(size=(N, L))
    for message in (target, srk.Gaussian(target), srk.Gaussian(target, np.ones((N, L)))):
        module = make()
        module.set_backward_msg(message)
        module.update()
        results.append(np.array(module.get_forward_msg()))
    assert_array_equal(results[0], results[1])
    assert_allclose(results[0], results[2], rtol=1e-4, atol=1e-5)


def test_gaussian_likelihood_takes_any_numbers():
    x = 100 * (make_data()[0] - 0.5)
    with pytest.raises(ValueError, match=r'\[0, 1\].*module000_obs ranges.*likelihood="gaussian"'):
        make(x).update()
    module = make(x, likelihood="gaussian", itr=60)
    module.update()
    back = np.asarray(module.inputs[0].get_backward_msg())
    assert np.mean((back - x) ** 2) < 0.5 * x.var()  # means, on the data's own scale


def test_images_keep_their_shape():
    images = np.random.default_rng(0).random((10, 4, 4, 1))
    encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3)])
    decoder = keras.Sequential(
        [keras.Input((L,)), keras.layers.Dense(16), keras.layers.Reshape((4, 4, 1))]
    )
    module = make(images, encoder=encoder, decoder=decoder)
    module.update()
    assert module.inputs[0].get_backward_msg().shape == images.shape
    assert encoder.layers[0] in module.model.encoder._flatten_layers()


class Serkets(vae.VAE):
    """Networks as Serket users write them, with the optimizer that Serket wanted."""

    def build_encoder(self, x, latent_dim):
        hidden = keras.layers.Dense(9, "relu", name="mine")(x)
        return keras.layers.Dense(latent_dim)(hidden), keras.layers.Dense(latent_dim)(hidden)

    def build_decoder(self, z):
        return keras.layers.Dense(D)(z), keras.optimizers.Adam(0.02)


def test_subclasses_build_networks_of_their_own(tmp_path):
    x, _ = make_data()
    module = Serkets(L, itr=2, save_dir=tmp_path, seed=0)
    module.connect(srk.Observation(x))
    module.update()
    names = [layer.name for layer in module.model.encoder._flatten_layers()]
    assert "mine" in names and module.get_forward_msg().shape == (N, L)
    Module.reset_names()
    again = Serkets(L, mode="recog", save_dir=tmp_path)
    again.connect(srk.Observation(x))
    again.update()
    assert_array_equal(np.asarray(again.get_forward_msg()), np.asarray(module.get_forward_msg()))


def test_build_encoder_may_name_its_outputs():
    class Named(vae.VAE):
        def build_encoder(self, x, latent_dim):
            return {
                "mean": keras.layers.Dense(latent_dim, bias_initializer="ones", name="m")(x),
                "log_variance": keras.layers.Dense(latent_dim, name="v")(x),
            }

    module = Named(L, seed=0, save_dir=None)
    module.connect(srk.Observation(make_data()[0]))
    model = module.build_model(module.read([make_data()[0]], None))
    mean, variance = model.encode(np.zeros((1, D)))
    assert_allclose(mean, 1.0)
    assert_allclose(variance, 1.0)


RECOGNIZE = """
import sys
import numpy as np
import kserket as srk
from kserket import gmm, vae

folder = sys.argv[1]
vae1 = vae.VAE(2, mode="recog", save_dir=folder)
vae1.number = 1
gmm1 = gmm.GMM(3, mode="recog", save_dir=folder)
gmm1.number = 2
gmm1.connect(vae1)
obs = srk.Observation(np.load(folder + "/x.npy"))
vae1.connect(obs)
for name in ("same", "new"):
    vae1.update()
    gmm1.update()
    np.save(f"{folder}/{name}.npy", gmm1.posterior)
    obs.set_data(np.load(folder + "/new_x.npy"))
    vae1.set_backward_msg(None)
"""


@pytest.mark.slow
def test_recognition_in_another_process(run, tmp_path):
    folder, obs, vae1, gmm1 = run
    new, _ = make_data(num_samples=7, seed=1)
    for name in ("module001_vae", "module002_gmm"):
        (tmp_path / name).mkdir()
        for file in (folder / name).iterdir():
            if file.is_file():
                (tmp_path / name / file.name).write_bytes(file.read_bytes())
    np.save(tmp_path / "x.npy", obs.data)
    np.save(tmp_path / "new_x.npy", new)
    subprocess.run([sys.executable, "-c", RECOGNIZE, tmp_path], check=True, capture_output=True)
    assert_allclose(np.load(tmp_path / "same.npy"), gmm1.posterior, rtol=1e-4, atol=1e-6)
    assert_allclose(
        np.load(tmp_path / "new.npy"), srk.Graph(gmm1).predict(new), rtol=1e-4, atol=1e-6
    )
    for name in ("module001_vae/z", "module001_vae/x_hat", "module002_gmm/Pdz"):
        assert len(np.loadtxt(tmp_path / f"{name}_recog.txt")) == 7
    assert not (tmp_path / "module002_gmm" / "acc_recog.txt").exists()


def recognize(vae_folder, gmm_folder, latent_dim=L, num_components=3):
    vae1 = vae.VAE(latent_dim, mode="recog", load_dir=vae_folder, save_dir=None)
    gmm1 = gmm.GMM(num_components, mode="recog", load_dir=gmm_folder, save_dir=None)
    vae1.connect(srk.Observation(make_data()[0]))
    gmm1.connect(vae1)
    vae1.update()
    gmm1.update()


def test_files_of_two_runs_are_refused(run, tmp_path):
    folder, obs, _, _ = run
    mine = folder / "module001_vae", folder / "module002_gmm"
    recognize(*mine)
    Module.reset_names()
    vae2 = make(save_dir=tmp_path, seed=8)
    vae2.update()
    with pytest.raises(ValueError, match="does not belong together.*one run"):
        recognize(tmp_path / "module001_vae", mine[1])
    with pytest.raises(ValueError, match="latent_dim=2.*latent_dim=4"):
        recognize(*mine, latent_dim=4)
    with pytest.raises(ValueError, match="K=3.*K=5"):
        recognize(*mine, num_components=5)
    # Half of a checkpoint from the other run.
    part = "model.ckpt.index"
    (tmp_path / "module001_vae" / part).write_bytes((mine[0] / part).read_bytes())
    with pytest.raises(ValueError, match="do not belong together|cannot be read"):
        recognize(tmp_path / "module001_vae", mine[1])


@pytest.mark.parametrize(
    "options, text",
    [
        ({"mode": "lern"}, "mode='lern'"),
        ({"itr": 0}, "itr"),
        ({"itr": None}, "itr"),
        ({"itr": 2.5}, "itr"),
        ({"batch_size": 0}, "batch_size"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"hidden_encoder_dim": -1}, "`hidden_encoder_dim`"),
        ({"weight_stddev": 0}, "`weight_stddev`"),
        ({"KL_param": -1}, "`KL_param`"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"likelihood": "mse"}, "likelihood='mse'"),
        ({"seed": "a"}, "seed"),
    ],
)
def test_unknown_options_are_refused_at_once(options, text):
    with pytest.raises(ValueError, match=text):
        vae.VAE(**{"latent_dim": 2, **options})


def test_reads_one_module_and_hears_latent_vectors():
    one, two = srk.Observation(make_data()[0]), srk.Observation(make_data()[0])
    module = vae.VAE(L, save_dir=None)
    module.connect(one, two)
    with pytest.raises(ValueError, match="reads one module. Received: 2"):
        module.update()
    module.connect(one)
    module.set_backward_msg(np.zeros((N, L + 1)))
    with pytest.raises(ValueError, match=rf"module002_vae needs .*\(N, {L}\).*\(30, 3\)"):
        module.update()
    assert module.model is None


def test_above_classes_it_reads_without_sending_back(tmp_path):
    gmm1 = gmm.GMM(3, itr=5, save_dir=None, seed=0)
    gmm1.connect(srk.Observation(make_data()[0]))
    gmm1.update()
    module = vae.VAE(L, itr=2, batch_size=8, save_dir=tmp_path, seed=0)
    module.connect(gmm1)
    with pytest.raises(
        ValueError, match=r"_vae reads class prob.*vae.connect\(gmm, backward=False"
    ):
        module.update()
    assert module.model is None and not module.folder.exists()
    module.connect(gmm1, backward=False)
    module.update()
    assert module.get_forward_msg().shape == (N, L)


def test_texts_that_are_too_large_are_written_on_request_only():
    x, _ = make_data()
    vae1 = vae.VAE(2, itr=1, batch_size=20, seed=0)
    vae1.connect(srk.Observation(x))
    vae1.update()
    assert (vae1.folder / "x_hat_learn.txt").exists()
    vae1.text_limit = x.size - 1
    with pytest.warns(UserWarning, match="x_hat_learn.txt, a text of .* text_limit"):
        vae1.update()
    assert not (vae1.folder / "x_hat_learn.txt").exists()  # nor that of the round before
    assert (vae1.folder / "z_learn.txt").exists()
    vae1.text_limit = None
    vae1.update()
    assert np.loadtxt(vae1.folder / "x_hat_learn.txt").shape == x.shape
