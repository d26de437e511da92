"""Options of constructors: fixed, or checked when they are set, or checked by the next update."""

import pickle

import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mlda, mm, nn, tt, utils, vae
from kserket.core import learning_module, module
from kserket.core.keywords import keywords

MAY_CHANGE = {  # what docs/guides/callbacks_schedules.md names, and the scale of a loss
    *("mode", "labels", "category", "save_dir", "load_dir", "seed", "keep_rounds", "filename"),
    *("lengths", "shared_classes", "group_idx", "KL_param", "kl_weight", "learning_rate"),
}
CHECKED_BY_UPDATE = {"itr", "batch_size", "itr1", "itr2", "batch_size1", "batch_size2"}
# Layers, a variable and what compile() sets of Keras models.
OF_KERAS = {"encoder", "decoder", "kl_weight", "network", "loss"}
MADE = {
    "Observation": lambda: srk.Observation(np.eye(3)),
    "GroupSum": lambda: utils.GroupSum([0, 0, 1]),
    "TextSaver": lambda: utils.TextSaver("eye.txt"),
    "Buffer": lambda: utils.Buffer(3),
    "VAE": lambda: vae.VAE(2),
    "GMM": lambda: gmm.GMM(2),
    "MarkovModel": lambda: mm.MarkovModel(),
    "MLDA": lambda: mlda.MLDA(2),
    "NN": lambda: nn.NN(),
    "TtoT": lambda: tt.TtoT(),
    "NamingGame": lambda: tt.NamingGame(),
    "VariationalAutoencoder": lambda: srk.VariationalAutoencoder(2),
    "GaussianMixture": lambda: srk.GaussianMixture(2),
    "MarkovChain": lambda: srk.MarkovChain(2),
    "MultimodalLDA": lambda: srk.MultimodalLDA(2),
    "SupervisedHead": lambda: srk.SupervisedHead(2, (3,)),
}
NOTHING = object()  # no option takes it


def options(made):
    taken = keywords(type(made))
    if isinstance(made, srk.LearningModule):
        taken |= keywords(made.model_class)
    return sorted(taken if isinstance(made, srk.Module) else taken - OF_KERAS)


@pytest.mark.parametrize("name", MADE)
def test_no_option_changes_without_a_word(name):
    made = MADE[name]()
    for option in options(made):
        before = getattr(made, option, None)
        if option in CHECKED_BY_UPDATE:
            continue
        refused = AttributeError
        if option in MAY_CHANGE:
            refused = AttributeError, ValueError, TypeError
        with pytest.raises(refused):
            setattr(made, option, NOTHING)
        assert getattr(made, option, None) is before, option


@pytest.mark.parametrize("name", ["VAE", "GMM", "MarkovModel", "MLDA", "NN", "NamingGame"])
@pytest.mark.parametrize("option", sorted(CHECKED_BY_UPDATE))
def test_what_an_update_checks_is_refused_before_it_changes_anything(name, option):
    made = MADE[name]()
    if option not in options(made):
        return
    setattr(made, option, NOTHING)
    with pytest.raises(ValueError, match=option):
        made.check_options(None)


def test_classes_are_scored_against_under_either_name():
    for name in ("GMM", "MarkovModel", "MLDA", "NN", "TtoT", "NamingGame"):
        made = MADE[name]()
        made.category = [0, 1, 1]
        np.testing.assert_array_equal(made.labels, [0, 1, 1])


def test_an_option_of_a_subclass_is_its_own():
    class Own(srk.GaussianMixture):
        def __init__(self, num_components, scale=1.0):
            super().__init__(num_components)
            self.scale = scale

    own = Own(2)
    own.scale = 2.0
    assert own.scale == 2.0
    with pytest.raises(AttributeError, match="fixed when it is made. Make a new one: Own"):
        own.num_components = 3


def test_pickles_of_earlier_places_are_read():
    assert module.Observation is srk.Observation
    assert learning_module.Inference is srk.Inference
    assert srk.core.messages.kinds.Mixture is srk.Mixture
    again = pickle.loads(pickle.dumps(srk.Observation(np.eye(2), name="again")))
    assert again.name == "again"
    with pytest.raises(AttributeError, match="fixed"):
        again.name = "other"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        module.Nothing  # noqa: B018
