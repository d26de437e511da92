"""Head-to-head: `NamingGame`."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from kserket import metrics
from kserket.arrays import as_numbers
from kserket.core.attributes import Fixed
from kserket.core.inference import Inference
from kserket.core.options import check_choice, check_positive_int, shown
from kserket.core.registry import register_module
from kserket.inference import experts, naming_game
from kserket.tt.module import Experts, agreement
from kserket.typing import Mode, PathLike


@register_module("kserket")
class NamingGame(Experts):
    """Agents agree on a sign for every sample by proposing and accepting (head-to-head).

    Each module below is an agent: any graph that ends in a classifier. In an update each agent
    speaks `itr` times: it proposes signs that it draws from what it sees, and the listeners accept
    or reject them by what they see. No agent learns what another one sees, and still the signs
    become samples of p(sign | all that was seen). Then each agent hears the signs as class prior,
    and learns from them in its next update.

    Args:
        K: Number of signs, which is that of the agents' classes; None takes it from them.
        itr: Iterations in an update; in each of them every agent speaks once.
        protocol: Who accepts. "metropolis": all listeners together, by the ratio of their
            likelihoods, which is exact; "unanimous": each listener by its own ratio, and all must
            accept, exact, too, and nothing but signs passes between agents; "recursive": one
            listener after the other, approximate for more than two agents; "accept_all": every
            proposal is accepted, and another speaker is the last for each sample; "none": no agent
            ever hears a sign; "gibbs": signs are drawn from the product of all agents, the ceiling.
        name: Module name.
        category: Optional labels (N,), used to score and for nothing else.
        mode: "learn" or "recog" (recognition).
        num_inner: Proposals that a listener of "recursive" weighs for one that it passes on.
        save_dir: Folder in which `module005_naming/` is made; None writes nothing.
        load_dir: A module's own folder to take the agents' vocabulary from.
        seed: Integer that determines all randomness.
        keep_rounds: Whether the files of every update are kept, see `LearningModule`.

    Attributes:
        signs: Integers (N,), the sign of each sample; -1 where it has none, since no agent has seen
            it. None before the first update, which starts from the most probable sign of each
            sample given what all agents see. Signs that exist already may be set before: each agent
            is then matched to these.

    Messages:
        Reads: `Categorical` (N, K), from two modules or more; missing rows are samples that an
            agent has not seen: it does not speak of them, and accepts what others say.
        Forward: `Categorical` (N, K): the product of all agents.
        Backward: `Categorical` (N, K), the sign. For new data, which no game was played about:
            the product of all other agents.
        Prior: `Categorical` (N, K), uniform by default.

    Files:
        `parameters.h5`, `signs_{mode}.txt` (N,), `Pdz_{mode}.txt` (N, K), `class_{mode}.txt` (N,),
        and with `category` `acc_{mode}.txt`.

    Logs:
        `acceptance`; `agreement`, Cohen's kappa between the classes of agents that have heard the
        sign (near 1 by construction), and `own_agreement`, between those that they see by
        themselves, both means over pairs of agents, on samples that both have seen; with `category`
        `sign_ari`, the adjusted Rand index of the signs of samples that an agent has seen, and
        `{agent}_ari`, that of what each agent sees by itself, beside the scores of the posterior,
        from which the signs are drawn.

    Raises:
        ValueError: If an option is unknown or a message does not fit.

    Reference:
        Taniguchi, Yoshida, Matsui, Le Hoang, Taniguchi and Hagiwara, "Emergent communication
        through Metropolis-Hastings naming game with deep generative models", Advanced Robotics
        37(19), 2023; Inukai, Taniguchi, Taniguchi and Hagiwara, "Recursive Metropolis-Hastings
        naming game", Frontiers in Artificial Intelligence 6, 2023.

    Example:

    ```python
    import numpy as np

    import kserket as srk
    from kserket import gmm, tt

    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    corners = np.eye(3)[labels]
    gmm1, gmm2 = gmm.GMM(3, itr=1, save_dir=None), gmm.GMM(3, itr=1, save_dir=None)
    gmm1.connect(srk.Observation(corners[:, :2] + 0.2 * rng.normal(size=(300, 2)), name="left"))
    gmm2.connect(srk.Observation(corners[:, 1:] + 0.2 * rng.normal(size=(300, 2)), name="right"))
    naming = tt.NamingGame(itr=20, category=labels, save_dir=None)
    naming.connect(gmm1, gmm2)
    srk.Graph(naming, seed=0).fit(rounds=3, verbose=0)
    print(naming.logs["accuracy"], naming.signs[:6])
    ```
    """

    K, protocol, num_inner = Fixed(), Fixed(), Fixed()

    def __init__(
        self,
        K: int | None = None,
        itr: int = 1,
        protocol: Literal[
            "metropolis", "unanimous", "recursive", "accept_all", "none", "gibbs"
        ] = "metropolis",
        name: str = "naming",
        category: ArrayLike | None = None,
        mode: Mode = "learn",
        *,
        num_inner: int = 1,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int | None = None,
        keep_rounds: bool = False,
    ) -> None:
        check_positive_int(K=1 if K is None else K, itr=itr, num_inner=num_inner)
        check_choice("protocol", protocol, *naming_game.PROTOCOLS)
        super().__init__(name, True, category, mode, save_dir, load_dir, seed, keep_rounds)
        self.K = None if K is None else int(K)
        self.itr, self.protocol, self.num_inner = int(itr), protocol, int(num_inner)
        self.signs = None

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "itr": self.itr, "signs": self.signs}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.itr, self.signs = state.get("itr", self.itr), state.get("signs")

    def forget_samples(self) -> None:
        super().forget_samples()
        self.signs = None

    def read(self, inputs: list[Any], prior: Any) -> Any:
        data = super().read(inputs, prior)
        found = data.log_evidence.shape[2]
        if self.K not in (None, found):
            raise ValueError(
                f"{self.get_name()} was made for K={self.K} signs, and its agents have {found} "
                "classes. Give both one number."
            )
        return data

    def learn(self, data: Any, rng: np.random.Generator) -> dict[str, float]:
        signs = self._checked_signs(data)
        if not self.model.is_matched:
            self.model.adopt(
                experts.match_classes(data.log_evidence, data.seen)
                if signs is None
                else np.stack([experts.match_signs(signs, part) for part in data.log_evidence])
            )
        evidence = self.aligned(data)
        if signs is None:
            signs = naming_game.first_signs(evidence, data.seen, data.log_prior)
        self.signs, acceptance = naming_game.play(
            evidence,
            data.seen,
            signs,
            rng,
            protocol=self.protocol,
            num_turns=self.itr,
            num_inner=self.num_inner,
            log_prior=data.log_prior,
        )
        return {"acceptance": acceptance, **self._agreement(data, evidence)}

    def _checked_signs(self, data):
        """Signs (N,) to go on from, or None."""
        if self.signs is None:
            return None
        num_samples, num_classes = data.log_evidence.shape[1:]
        signs = as_numbers(self.signs, f"signs of {self.get_name()}")
        whole = signs.dtype.kind in "iu" and signs.shape == (num_samples,)
        if not whole or ((signs < naming_game.UNNAMED) | (signs >= num_classes)).any():
            raise ValueError(
                f"The signs of {self.get_name()} must be whole numbers ({num_samples},), from 0 to "
                f"{num_classes - 1}, or -1 where there is none. Received: {shown(self.signs)}"
            )
        return signs.astype("int64")

    def infer_learned(self, data: Any) -> Inference:
        """As `infer`, with the signs that were agreed on."""
        found = self.infer(data)
        if self.signs is None:
            return found
        downward = [None] * len(data.log_evidence)
        if self.protocol != "none":
            told = self._told(data)
            downward = [self.in_own_numbering(told, order) for order in self.model.numbering]
        return found._replace(downward=downward)

    def _told(self, data):
        """What agents hear, logarithms (N, K)."""
        signs = self._checked_signs(data)
        return naming_game.told(signs, data.log_evidence.shape[2], data.log_prior)

    def _agreement(self, data, evidence):
        """How alike the agents' classes are, before and after they heard the sign."""
        own = evidence.argmax(axis=2)
        told = 0.0 if self.protocol == "none" else self._told(data)
        after = (evidence + told).argmax(axis=2)
        figures = {
            "agreement": agreement(after, data.seen),
            "own_agreement": agreement(own, data.seen),
        }
        if self.labels is not None:
            named = self.signs != naming_game.UNNAMED
            figures["sign_ari"] = self._ari(self.signs, named)
            for source, classes, seen in zip(self.inputs, own, data.seen, strict=True):
                figures[f"{source.name}_ari"] = self._ari(classes, seen)
        return figures

    def _ari(self, classes, rows):
        """Adjusted Rand index of classes (N,) and labels, on the rows of a mask."""
        return metrics.adjusted_rand_index(np.asarray(self.labels)[rows], classes[rows])

    def text_files(self, inference: Inference) -> dict[str, Any]:
        signs = inference.posterior.classes if self.mode == "recog" else self.signs
        return {**super().text_files(inference), "signs_{mode}.txt": self.class_names(signs)}
