"""Several hosts learn together what one learns from all rows. Hosts are threads here."""

import os
import pathlib

import numpy as np
import pytest
from host_threads import on_hosts
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import kserket as srk
from kserket import gmm, hosts, metrics, mlda, mm
from kserket.core import messages
from kserket.core.host_group import check_agreement
from kserket.core.saving.data import describe_all_rows
from kserket.inference.gaussian_mixture import learning
from kserket.inference.gaussian_mixture.data import Data

CUTS = [0, 70, 71, 240]  # three hosts, one of them with a single row
POINTS, LABELS, *_ = srk.datasets.make_mixture(240, 3, 3, seed=2)


def part(values, index, cuts=CUTS):
    return values if values is None else values[cuts[index] : cuts[index + 1]]


def everywhere(function):
    """What a function of the host's rows, as a slice, returns; the same on all three hosts."""
    return on_hosts(lambda index: function(slice(CUTS[index], CUTS[index + 1])), 3)


def assert_alike(one, other, **how):
    """Two nested structures hold the same numbers."""
    leaves = [list(hosts._leaves(tree)) for tree in (one, other)]
    for mine, theirs in zip(*leaves, strict=True):
        assert_allclose(mine, theirs, **how)


# What is exchanged -------------------------------------------------------------------------


def test_sums_keep_structure_kind_and_order():
    def exchange(index):
        return hosts.sum_over_hosts((index + 1, [np.full((2, 2), 0.5), None], np.arange(3)))

    for number, (half, nothing), whole in on_hosts(exchange, 3):
        assert number == 6 and isinstance(number, int) and nothing is None
        assert_array_equal(half, np.full((2, 2), 1.5))
        assert_array_equal(whole, [0, 3, 6])
        assert whole.dtype.kind == "i"


def test_one_host_exchanges_nothing():
    values = object()
    assert hosts.sum_over_hosts(values) is values
    assert hosts.from_first_host(values) is values
    assert hosts.gather_rows(values) is values
    assert hosts.any_host(True) and not hosts.any_host(False)


@pytest.mark.parametrize(
    "rows",
    [
        np.arange(12).reshape(6, 2),
        np.array([True, False, True, True, False, False]),
        np.array(["b", "ab", "", "ä", "longest", "b"]),
        np.array([[np.inf], [np.nan], [-np.inf], [1e300], [-0.5], [2.0]]),
        np.arange(6, dtype="float32") / 3,
    ],
    ids=["int", "bool", "text", "special", "single"],
)
def test_rows_of_all_hosts_come_together_in_order(rows):
    cuts = [0, 2, 2, 6]  # the second host has none
    for gathered in on_hosts(lambda index: hosts.gather_rows(part(rows, index, cuts)), 3):
        assert gathered.dtype.kind == rows.dtype.kind
        assert_array_equal(gathered, rows)


@pytest.mark.parametrize("most", [5, 100, 240, 1000])
def test_chosen_rows_are_those_that_one_host_would_choose(most):
    def choose(index):
        own = part(POINTS, index)
        rows, place = hosts.choose_rows(len(own), most, np.random.default_rng(3))
        gathered = hosts.gather_rows(own[rows])
        assert_array_equal(gathered[place], own[rows])
        return gathered

    expected = POINTS
    if most < len(POINTS):
        rng = np.random.default_rng(3)
        expected = POINTS[np.sort(rng.choice(len(POINTS), most, replace=False))]
    for gathered in on_hosts(choose, 3):
        assert_array_equal(gathered, expected)


def test_moments_change_and_scores_are_those_of_all_rows():
    weight = np.random.default_rng(0).random(240)
    later = POINTS + np.random.default_rng(1).normal(size=POINTS.shape)
    probs = np.random.default_rng(2).dirichlet(np.ones(4), size=(2, 240))
    names = np.array(["left", "middle", "right side"])[LABELS]
    expected = (
        hosts.moments(POINTS, weight),
        messages.change(POINTS, later),
        messages.change(*map(messages.Categorical, probs)),
        *metrics.clustering_scores(names, probs[0].argmax(axis=1)).values(),
    )

    def exchange(rows):
        before, after = (messages.Categorical(each[rows]) for each in probs)
        pairs = metrics.pairs_of_hosts(names[rows], before.classes)
        return (
            hosts.moments(POINTS[rows], weight[rows]),
            messages.change(POINTS[rows], later[rows]),
            messages.change(before, after),
            *metrics.clustering_scores(*pairs).values(),
        )

    for found in everywhere(exchange):
        assert_alike(found, expected, rtol=1e-12)


def test_a_difference_between_hosts_is_named_on_all_of_them():
    def disagree(index):
        what = {"versions": {"kserket": "1"}, "modules": {"gmm": {"K": 3 if index < 2 else 4}}}
        with pytest.raises(ValueError, match="modules/gmm/K is 3 on host 0, but 4 on host 2"):
            check_agreement(what)
        check_agreement({"same": [1, 2]})
        return True

    assert on_hosts(disagree, 3) == [True] * 3


# Mixture -----------------------------------------------------------------------------------


def test_statistics_of_parts_add_up_to_those_of_the_whole():
    model = srk.GaussianMixture(3, seed=0, n_init=2)
    model.fit(POINTS, epochs=3, verbose=0)
    whole = model.statistics(POINTS)
    for summed in everywhere(lambda rows: model.statistics(POINTS[rows])):
        assert_alike(summed, whole, rtol=1e-9, atol=1e-9)


def _prior(strength):
    prior = np.random.default_rng(0).dirichlet(np.ones(3), size=240)
    return np.log((1 - strength) * prior + strength * (0.9 * np.eye(3)[LABELS] + 0.1 / 3))


MISSING = np.arange(240) % 7 == 0
MIXTURES = {
    "plain": ({}, {}),
    "weights": ({"weight": np.arange(240) % 3 + 0.5}, {}),
    "missing": ({"missing": MISSING}, {}),
    "uncertain": ({"variance": np.full((240, 3), 0.3)}, {}),
    "class prior": ({"log_prior": _prior(0.0)}, {}),
    "deciding prior": ({"log_prior": _prior(1.0)}, {}),
    "number": ({}, {"num_components": None}),
    "sparse": ({}, {"num_components": 6, "sparse": True}),
    "powers": ({}, {"learns_powers": True}),
    "afresh": ({}, {"warm_start": False}),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_is_that_of_all_rows(name):
    given, options = MIXTURES[name]
    options = learning.Options(**{"num_components": 3, "n_init": 2, **options})

    def learn(rows):
        data = Data(POINTS[rows], **{key: value[rows] for key, value in given.items()})
        found = learning.learn(data, options, rng=0, num_sweeps=5)
        again = learning.learn(data, options, found, rng=1, num_sweeps=3)
        return again, hosts.num_hosts()

    one, _ = learn(slice(None))
    for index, (found, size) in enumerate(everywhere(learn)):
        assert size == 3
        assert_alike(found[:4], one[:4], rtol=1e-6, atol=1e-8)
        assert_allclose(found.figure, one.figure, rtol=1e-9)
        if one.classes is not None:
            assert_array_equal(found.classes, part(one.classes, index))


def test_a_start_from_a_sample_is_the_same_on_all_hosts(monkeypatch):
    monkeypatch.setattr(learning, "max_start_samples", lambda num_features: 50)
    options = learning.Options(3, n_init=2)

    def learn(rows):
        return learning.learn(Data(POINTS[rows]), options, rng=0, num_sweeps=100)

    first, *others = everywhere(learn)
    for other in others:
        assert_alike(other[:4], first[:4], rtol=0)
    whole = learn(slice(None))  # from another start, to the same classes
    order = np.argsort(whole.state.mean[:, 0]), np.argsort(first.state.mean[:, 0])
    assert_allclose(whole.state.mean[order[0]], first.state.mean[order[1]], atol=0.1)


def test_groups_stay_with_their_rows(monkeypatch):
    def clusters(x, number, rng, counted=None):
        return np.where(x[:, 0] > np.median(x[:, 0]), 0, 1)

    monkeypatch.setattr(learning, "umap_clusters", clusters)
    options = learning.Options(2, init="umap", n_init=2, keep_groups=True)

    def learn(rows):
        return learning.learn(Data(POINTS[rows]), options, rng=0, num_sweeps=5)

    one = learn(slice(None))
    for index, found in enumerate(everywhere(learn)):
        assert_array_equal(found.groups, part(one.groups, index))
        assert_alike(found.state, one.state, rtol=1e-6, atol=1e-8)


def test_a_sweep_that_a_callback_stops_on_one_host_is_the_last_on_all():
    def learn(rows):
        done = []

        def stop(sweep, num_sweeps, bound, reach):
            done.append(sweep)
            if sweep == 2 and rows.start == 71:
                raise StopIteration

        options = learning.Options(3, n_init=2, tolerance=None)
        learning.learn(Data(POINTS[rows]), options, rng=0, num_sweeps=6, callback=stop)
        return done

    assert everywhere(learn) == [[1, 2]] * 3


def test_samplers_need_all_rows_on_one_host():
    with pytest.raises(ValueError, match="needs all rows on one host"):
        everywhere(
            lambda rows: learning.learn(
                Data(POINTS[rows]), learning.Options(3, inference="gibbs"), rng=0
            )
        )
    counts = np.random.default_rng(0).integers(0, 4, (240, 5))
    with pytest.raises(ValueError, match="needs all rows on one host"):
        everywhere(
            lambda rows: srk.MultimodalLDA(2, inference="gibbs", seed=0).fit(
                counts[rows], verbose=0
            )
        )


# Topics ------------------------------------------------------------------------------------


def _documents(kind):
    rng = np.random.default_rng(5)
    words = rng.multinomial(20, np.eye(3)[LABELS].repeat(4, axis=1) * 0.2 + 0.2 / 12).astype(float)
    sounds = rng.multinomial(15, np.eye(3)[LABELS].repeat(3, axis=1) * 0.25 + 0.25 / 9)
    sounds = sounds.astype(float)
    sounds[::5] = np.nan  # not observed
    report = messages.Categorical(0.7 * np.eye(3)[LABELS] + 0.1)
    if kind == "sparse":
        return [sparse.csr_array(words * (words > 3)), sounds]
    if kind == "report":
        return [words, report]
    return [words, sounds]


def _rows_of(documents, rows):
    return [
        messages.Categorical(each.probs[rows])
        if isinstance(each, messages.Categorical)
        else each[rows]
        for each in documents
    ]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("words", {}),
        ("sparse", {}),
        ("report", {}),
        ("words", {"alpha": 0.3}),
        ("sparse", {"alpha": 0.3}),
        ("words", {"num_topics": None, "max_topics": 8}),
        ("words", {"modality_weights": [10, 10]}),
    ],
    ids=["words", "sparse", "report", "mixed", "mixed sparse", "number", "weights"],
)
def test_topics_are_those_of_all_documents(kind, options):
    documents = _documents(kind)

    def learn(rows):
        model = srk.MultimodalLDA(**{"num_topics": 3, "n_init": 2, "seed": 0, **options})
        own = _rows_of(documents, rows)
        model.fit(own, epochs=8, verbose=0)
        model.fit(own, epochs=3, verbose=0)
        return model.get_weights()

    one = learn(slice(None))
    for weights in everywhere(learn):
        assert_alike(weights, one, rtol=1e-6, atol=1e-8)


# Chain -------------------------------------------------------------------------------------

LENGTHS = [[40, 30], [1], [100, 69]]
HEARD = np.random.default_rng(0).dirichlet(np.ones(3), 240) * 0.5
HEARD += 0.5 * np.eye(3)[np.arange(240) // 4 % 3]


@pytest.mark.parametrize(
    "options",
    [{}, {"trust": np.inf}, {"allowed_transitions": "left-right"}, {"duration": "poisson"}],
)
def test_a_chain_is_that_of_all_sequences(options):
    def learn(index):
        rows = slice(None) if index is None else slice(CUTS[index], CUTS[index + 1])
        model = srk.MarkovChain(3, n_init=3, seed=0, **options)
        lengths = sum(LENGTHS, []) if index is None else LENGTHS[index]
        model.fit(HEARD[rows], lengths=lengths, epochs=10, verbose=0)
        return model.get_weights()

    one = learn(None)
    for weights in on_hosts(learn, 3):
        assert_alike(weights, one, rtol=1e-6, atol=1e-9)


def test_more_steps_than_a_start_sees_begin_the_same_everywhere(monkeypatch):
    monkeypatch.setattr("kserket.inference.reported_chain._MAX_START_STEPS", 60)

    def learn(index):
        model = srk.MarkovChain(3, n_init=3, seed=0)
        rows = slice(CUTS[index], CUTS[index + 1])
        model.fit(HEARD[rows], lengths=LENGTHS[index], verbose=0)
        return model.get_weights()

    first, *others = on_hosts(learn, 3)
    for other in others:
        assert_alike(other, first, rtol=0)


# Modules -----------------------------------------------------------------------------------


def tower(kind, rows, lengths, points=POINTS, between=()):
    """A mixture, and a chain or topics above it."""
    gmm1 = gmm.GMM(3, itr=5, n_init=2, category=LABELS[rows], save_dir=None, seed=0)
    below = srk.Observation(points[rows])
    for make in between:
        memory = make("memory", learnable=False)
        memory.connect(below)
        below = memory
    gmm1.connect(below)
    if kind == "topics":
        above = mlda.MLDA(3, itr=5, category=LABELS[rows], save_dir=None, seed=0)
        counts = np.nan_to_num(_documents("words")[0][rows])
        above.connect(gmm1, srk.Observation(counts, name="words"))
    else:
        joint = {"joint": True, "n_init": 3} if kind == "joint" else {}
        above = mm.MarkovModel(lengths=lengths, itr=5, save_dir=None, seed=0, **joint)
        above.connect(gmm1)
    return gmm1, above


@pytest.mark.parametrize("kind", ["chain", "joint", "topics"])
def test_modules_send_their_rows_and_report_what_all_have(kind):
    def learn(index):
        rows = slice(None) if index is None else slice(CUTS[index], CUTS[index + 1])
        modules = tower(kind, rows, sum(LENGTHS, []) if index is None else LENGTHS[index])
        for _ in range(2):
            for module in modules:
                module.update()
        logs = [value for module in modules for _, value in sorted(module.logs.items())]
        return [module.posterior for module in modules], logs

    one, logs = learn(None)
    for index, (posteriors, found) in enumerate(on_hosts(learn, 3)):
        assert_allclose(found, logs, rtol=1e-6, atol=1e-9)
        for posterior, whole in zip(posteriors, one, strict=True):
            assert_allclose(posterior, part(whole, index), atol=1e-6)


CUTS_OF = {1: [0, 240], 2: [0, 71, 240], 3: CUTS}  # whole sequences
SHARES = {1: [sum(LENGTHS, [])], 2: [LENGTHS[0] + LENGTHS[1], LENGTHS[2]], 3: LENGTHS}


def run_with_backup(kind, rounds, size, points=POINTS, between=()):
    """A run on so many hosts, which go on where others have ended: a graph for each."""

    def learn(index):
        rows = slice(*CUTS_OF[size][index : index + 2])
        gmm1, above = tower(kind, rows, SHARES[size][index], points, between)
        graph = srk.Graph(above, seed=0)
        graph.fit(rounds, verbose=0, backup_dir="backup")
        return graph

    return on_hosts(learn, size)


@pytest.mark.parametrize("kind", ["chain", "joint", "topics"])
def test_another_number_of_hosts_goes_on(kind):
    for rounds, size in ((1, 2), (2, 3), (3, 1)):
        graphs = run_with_backup(kind, rounds, size)
        assert all(graph.round == rounds for graph in graphs)
        number = len(list(pathlib.Path("backup").glob("*.kserket")))
        assert number == size  # those of the hosts before are gone
    (resumed,) = graphs
    os.rename("backup", "done")
    (whole,) = run_with_backup(kind, 3, 1)
    assert_alike(resumed.get_weights(), whole.get_weights(), rtol=1e-6, atol=1e-8)
    for mine, theirs in zip(resumed.modules, whole.modules, strict=True):
        if isinstance(mine, srk.LearningModule):
            assert_allclose(mine.posterior, theirs.posterior, atol=1e-6)
    assert_alike(
        [resumed.history.history[name] for name in sorted(resumed.history.history)],
        [whole.history.history[name] for name in sorted(whole.history.history)],
        rtol=1e-5,
        atol=1e-8,
    )


@srk.register_module("tests")
class Memory(srk.Module):
    """Passes on what it reads, and keeps something of the samples that no one knows."""

    def update(self):
        self.set_forward_msg(self.get_observations()[0])

    def get_state(self):
        return {**super().get_state(), "seen": np.zeros(3)}


def test_another_number_of_hosts_is_refused_where_it_cannot_go_on():
    run_with_backup("topics", 1, 2)
    names = os.listdir("backup")
    with pytest.raises(ValueError, match="another graph or run: modules/obs/data/digest"):
        run_with_backup("topics", 2, 3, points=POINTS[::-1])
    os.rename("backup/from0000_round0001_host0of2.kserket", "elsewhere")
    with pytest.raises(ValueError, match="run on 2 host.* must find all files: share the folder"):
        run_with_backup("topics", 2, 3)
    os.rename("elsewhere", "backup/from0000_round0001_host0of2.kserket")
    assert sorted(os.listdir("backup")) == sorted(names)

    os.rename("backup", "topics")
    run_with_backup("topics", 1, 2, between=[Memory])
    with pytest.raises(ValueError, match="what memory keeps of samples cannot be dealt out to 3"):
        run_with_backup("topics", 2, 3, between=[Memory])
    run_with_backup("topics", 2, 2, between=[Memory])


@pytest.mark.parametrize("cuts", [[0, 240], [0, 100, 240], [0, 1, 2, 240]])
def test_rows_of_all_hosts_have_one_digest(cuts):
    for data in (POINTS, POINTS.astype("float32"), (100 * POINTS).astype("int8")):
        (whole,) = on_hosts(lambda _, data=data: describe_all_rows(data), 1)
        found = on_hosts(
            lambda index, data=data: describe_all_rows(part(data, index, cuts)), len(cuts) - 1
        )
        assert found == [whole] * len(found)
        for other in (data[::-1], np.roll(data, 1, axis=1), data[:-1], np.where(data > 1, 0, data)):
            assert describe_all_rows(other.astype(data.dtype)) != whole


@pytest.mark.parametrize(
    "message",
    [
        POINTS,
        messages.Categorical(np.random.default_rng(0).dirichlet(np.ones(3), size=240)),
        messages.Categorical(np.full((240, 2), 0.5), missing=np.arange(240) < 5),
        messages.Gaussian(POINTS),
        messages.Gaussian(POINTS, np.where(np.arange(240)[:, None] < 5, np.inf, POINTS**2 + 0.1)),
        messages.Mixture(np.eye(3)[LABELS], POINTS[:3], np.array([np.eye(3)] * 3)),
    ],
    ids=["array", "classes", "missing classes", "means", "missing means", "mixture"],
)
def test_messages_of_parts_join(message):
    def take(rows):
        return message[rows] if isinstance(message, np.ndarray) else message.take(rows)

    joined = messages.join([take(slice(0, 5)), take(slice(5, 7)), take(slice(7, 240))])
    assert type(joined) is type(message)
    if isinstance(message, np.ndarray):
        assert_array_equal(joined, message)
        return
    for name, value in message.to_arrays().items():
        if value is not None:
            assert_allclose(joined.to_arrays()[name], value, rtol=1e-12, err_msg=name)


def test_a_host_whose_rows_are_all_missing_learns_along():
    x = POINTS.copy()
    x[70:71] = np.nan  # all rows of the second host

    def learn(rows):
        gmm1 = gmm.GMM(3, itr=3, n_init=2, save_dir=None, seed=0)
        gmm1.connect(srk.Observation(x[rows], allow_missing=True))
        gmm1.update()
        return gmm1.model.get_weights()

    one = learn(slice(None))
    for weights in everywhere(learn):
        assert_alike(weights, one, rtol=1e-6, atol=1e-8)


def test_shard_keeps_all_rows_on_one_host():
    obs = srk.Observation(POINTS)
    assert obs.shard() == slice(0, 240)
    assert obs.data.shape == POINTS.shape
