"""Constructors take the names that arguments had in Serket, too."""

import warnings

import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mlda, mm, tt, vae


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: gmm.GMM(2, **options),
        lambda **options: mlda.MLDA(2, **options),
        lambda **options: mm.MarkovModel(**options),
        lambda **options: tt.TtoT(**options),
        lambda **options: tt.NamingGame(2, **options),
    ],
    ids=["gmm", "mlda", "mm", "tt", "naming"],
)
def test_the_manuals_misprint_is_read_everywhere(make):
    with pytest.warns(UserWarning, match=r"catogory=\[0, 1\]\) is read as \w+\(category=\[0, 1\]"):
        module = make(catogory=[0, 1])
    np.testing.assert_array_equal(module.labels, [0, 1])
    assert "catogory" not in module.get_config()
    assert type(module).from_config(module.get_config()).get_config() == module.get_config()


def test_a_vae_takes_what_serket_calls_its_options():
    with pytest.warns(UserWarning, match=r"read as VAE\(itr=3, KL_param=0.5, likelihood="):
        module = vae.VAE(2, epoch=3, KLD_weight=0.5, RE="MSE", loss_step=10)
    assert (module.itr, module.kl_weight) == (3, 0.5)
    assert (module.likelihood, module.variance) == ("gaussian", 1.0)
    with pytest.warns(UserWarning):
        assert vae.VAE(2, RE="BCE").likelihood == "bernoulli"
    with pytest.raises(ValueError, match="`RE` of a VAE must be 'BCE' or 'MSE'"):
        vae.VAE(2, RE="L1")
    with pytest.raises(TypeError, match="no option `epoc`"):
        vae.VAE(2, epoc=3)


@pytest.mark.parametrize(
    ("given", "itr", "stddev"),
    [((200,), 200, 0.1), ((1,), 1, 0.1), ((200.0,), 200, 0.1), ((0.2,), 5000, 0.2)],
)
def test_a_second_whole_number_is_a_number_of_epochs(given, itr, stddev):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = vae.VAE(18, *given)
    assert (module.itr, module._options["kernel_stddev"]) == (itr, stddev)


def test_positional_arguments_follow_serkets_order_after_a_number_of_epochs():
    with pytest.warns(UserWarning, match="epoch=7"):
        module = vae.VAE(3, 7, "eyes", 50, 2.0, "MSE")
    assert (module.name, module.itr, module.batch_size) == ("eyes", 7, 50)
    assert (module.kl_weight, module.variance) == (2.0, 1.0)
    assert module.get_config()["itr"] == 7


def test_load_dir_beside_former_names_hints_at_recognition():
    with pytest.warns(UserWarning, match="mode='recog' recognizes"):
        vae.VAE(2, epoch=3, load_dir="somewhere")
    with pytest.raises(TypeError, match="`learnable`. Did you mean `mode`"):
        gmm.GMM(2, learnable=False)


def test_subclasses_take_former_names_as_far_as_they_pass_them_on():
    class Passes(vae.VAE):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    class Narrow(vae.VAE):
        def __init__(self, epoch):
            super().__init__(2, itr=2 * epoch)

    with pytest.warns(UserWarning):
        assert Passes(2, 9).itr == Passes(2, epoch=9).itr == 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Narrow(epoch=4).itr == 8  # its own word
        assert Narrow(4).get_config() == {"epoch": 4}


def test_modules_of_users_state_former_names_of_their_own():
    class Counter(srk.Module):
        former_names = {"begin": "start"}

        def __init__(self, start=0):
            super().__init__("counter")
            self.start = start

    with pytest.warns(UserWarning, match=r"Counter\(begin=3\) is read as Counter\(start=3\)"):
        module = Counter(begin=3)
    assert module.start == 3 and module.get_config() == {"start": 3}


def test_a_former_name_is_known_only_where_it_is_taken():
    for name in ("category", "catogory"):  # a VAE has no classes to score
        with pytest.raises(TypeError, match=f"^VAE has no option `{name}`") as error:
            vae.VAE(2, **{name: [0]})
        assert str(error.value).count("catogory") == (name == "catogory")
