"""Agents in processes of their own agree on names; nothing but names passes between them.

Five kinds of things lie on a table, and each agent takes another pair of them for one. Each runs in
a process of its own, with a graph of its own: what it sees, a mixture, and on top its part of the
naming game. Pipes carry arrays of signs and nothing else. A game in one process, in which
`tt.NamingGame` reads all agents, ends with the same signs, bit for bit.

    python examples/naming_game_processes.py
    python examples/naming_game_processes.py --agents 3
"""

import argparse
import contextlib
import itertools
import multiprocessing

import numpy as np

import kserket as srk
from kserket import gmm, metrics, tt
from kserket.inference import experts, naming_game

CENTERS = np.array([[0, 0], [6, 6], [-6, 6], [6, -6], [-6, -6]], float)


class Talk(srk.LearningModule):
    """An agent's part of a naming game: it proposes signs and votes on those of others.

    Args:
        index: Which of the agents this is. The first one names everything, to begin with.
        others: Dict from the index of each other agent to a connection.
        itr: Iterations in an update, in each of which every agent speaks once.
    """

    links_samples = False

    def __init__(self, index, others, itr):
        super().__init__("naming", save_dir=None)
        self.index, self.others, self.itr, self.signs = index, others, itr, None

    def build_model(self, inputs):
        return np.arange(inputs[0].shape[1])  # the number that this agent has for each sign

    def get_parameters(self):
        return {"numbering": self.model}

    def learn(self, inputs, prior, rng):
        evidence, seen = inputs[0].log_probs, np.ones(len(inputs[0]), bool)
        if inputs[0].missing is not None:
            seen = ~inputs[0].missing
            evidence = np.where(seen[:, None], evidence, 0.0)
        if self.signs is None:
            if self.index == 0:
                self.signs = np.where(seen, evidence.argmax(axis=1), naming_game.UNNAMED)
                self.tell(self.signs)
            else:
                self.signs = self.others[0].recv()
            self.model = experts.match_signs(self.signs, evidence)
        evidence = evidence[:, self.model]
        own = rng.spawn(len(self.others) + 2)[self.index]
        for _ in range(self.itr):
            for speaker in rng.permutation(len(self.others) + 1):
                if speaker == self.index:
                    self.speak(naming_game.propose(evidence, seen, own))
                else:
                    self.listen(self.others[speaker], evidence, own)
        return {}

    def speak(self, proposal):
        """Proposes signs (N,), and takes those that all others accept."""
        self.tell(proposal)
        votes = [other.recv() for other in self.others.values()]
        agreed = np.all([vote == proposal for vote in votes], axis=0)
        self.signs = np.where(agreed, proposal, self.signs)
        self.tell(self.signs)

    def listen(self, speaker, evidence, rng):
        """Answers a proposal with the signs that this agent would have, and hears the outcome."""
        speaker.send(naming_game.accept(evidence, speaker.recv(), self.signs, rng))
        self.signs = speaker.recv()

    def tell(self, signs):
        """Sends signs (N,) to all others."""
        for other in self.others.values():
            other.send(signs)

    def infer(self, inputs, prior):
        told = naming_game.told(self.signs, len(self.model))
        heard = srk.Categorical.from_log(experts.own_numbering(told, self.model))
        return srk.Inference(inputs[0], [heard])


def make_agent(index, view):
    """A mixture over what one agent sees, (N, 2); rows of NaN are things that it has not seen."""
    mixture = gmm.GMM(5, itr=1, name=f"agent{index}", save_dir=None)
    mixture.connect(srk.Observation(view, name=f"seen_by_{index}", allow_missing=True))
    return mixture


def run_agent(index, view, others, result, arguments):
    """The process of one agent: what it does not see, it does not have."""
    talk = Talk(index, others, arguments.itr)
    talk.connect(make_agent(index, view))
    srk.Graph(talk, seed=arguments.seed).fit(rounds=arguments.rounds, verbose=0)
    result.send(talk.signs)


def in_processes(views, arguments):
    """Signs (N,) by each of the agents, which run side by side."""
    context = multiprocessing.get_context("spawn")
    ends = [{} for _ in views]
    for i, j in itertools.combinations(range(len(views)), 2):
        ends[i][j], ends[j][i] = context.Pipe()
    results, processes = [], []
    for index, view in enumerate(views):
        receive, send = context.Pipe(duplex=False)
        work = (index, view, ends[index], send, arguments)
        processes.append(context.Process(target=run_agent, args=work))
        processes[-1].start()
        results.append(receive)
        for end in (send, *ends[index].values()):
            end.close()  # here: whoever waits for a process that died learns of it
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.callback(process.join)
        return [result.recv() for result in results]


def in_one_process(views, labels, arguments):
    """The graph in which `tt.NamingGame` reads all agents, after the same game."""
    agents = [make_agent(index, view) for index, view in enumerate(views)]
    naming = tt.NamingGame(5, arguments.itr, "unanimous", category=labels, save_dir=None)
    naming.connect(*agents)
    graph = srk.Graph(naming, seed=arguments.seed)
    for agent in agents:
        agent.update()
    first = agents[0].get_forward_msg()
    naming.signs = np.asarray(first).argmax(axis=1)
    if first.missing is not None:
        naming.signs[first.missing] = naming_game.UNNAMED
    naming.update()
    graph.fit(rounds=arguments.rounds - 1, verbose=0)
    return graph


def things(num_things, num_agents, seed):
    """What each agent sees, (N, 2) each, a tenth of the rows missing, and the kinds (N,)."""
    rng, views = np.random.default_rng(seed), []
    kinds = np.arange(num_things) % 5
    for agent in range(num_agents):
        centers = CENTERS.copy()
        centers[(agent + 1) % 5] = centers[agent % 5] + (0.8, 0.4)
        view = centers[kinds] + rng.normal(size=(num_things, 2))
        view[rng.random(num_things) < 0.1] = np.nan
        views.append(view)
    return views, kinds


def main(argv=None):
    """Plays both ways, and compares.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--itr", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run?")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.rounds = 3
    views, kinds = things(200 if arguments.quick else 1000, arguments.agents, arguments.seed)

    signs = in_processes(views, arguments)
    graph = in_one_process(views, kinds, arguments)

    logs, expected = graph["naming"].logs, graph["naming"].signs
    named = expected != naming_game.UNNAMED
    print(f"{arguments.agents} processes, {len(kinds)} things, {named.sum()} of them with a name")
    for index in range(arguments.agents):
        print(f"ARI of what agent {index} sees by itself: {logs[f'agent{index}_ari']:.3f}")
    print(f"ARI of the names: {metrics.adjusted_rand_index(kinds[named], signs[0][named]):.3f}")
    same = all(np.array_equal(found, expected) for found in signs)
    print(f"The same names as in one process: {same}")
    if not same:
        raise SystemExit("The processes and the graph ended with different signs.")


if __name__ == "__main__":
    main()
