"""A module of your own: scikit-learn's Bayesian mixture above a VAE.

Two methods make a module. `infer` returns what the estimator concludes from its inputs and changes
nothing: `Graph.predict` calls it for new data. `update` lets it learn, then sends what it concludes
up and down.

    python examples/user_module.py
"""

import argparse

from sklearn.mixture import BayesianGaussianMixture

import kserket as srk
from kserket import metrics, vae


class Mixture(srk.Module):
    """scikit-learn's Bayesian mixture: sends classes up, and each datum's expected mean down."""

    def __init__(self, K, name="mixture"):
        super().__init__(name)
        self.estimator = BayesianGaussianMixture(
            n_components=K, warm_start=True, max_iter=200, random_state=0
        )

    def update(self):
        inputs = self.get_observations()
        self.estimator.fit(inputs[0])
        inference = self.infer(inputs, self.get_backward_msg())
        self.set_forward_msg(inference.evidence)
        self.send_backward_msgs(inference.downward)

    def infer(self, inputs, prior):
        probs = self.estimator.predict_proba(inputs[0])
        classes = srk.Categorical(probs)
        return srk.Inference(classes, [probs @ self.estimator.means_], posterior=classes)


def main(argv=None):
    """Learns from 1,500 digits and sorts the 297 others.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="little training: does it run?")
    args = parser.parse_args(argv)

    x, labels = srk.datasets.load_digits()
    obs = srk.Observation(x[:1500])
    itr = 2 if args.quick else 50
    vae1 = vae.VAE(10, itr=itr, batch_size=100, KL_param=1 / 16, save_dir=None)
    mixture = Mixture(10)

    vae1.connect(obs)
    mixture.connect(vae1)

    graph = srk.Graph(mixture, seed=args.seed)
    graph.fit(rounds=1 if args.quick else 3)
    graph.summary()

    classes = graph.predict(x[1500:]).argmax(axis=1)
    accuracy = metrics.clustering_accuracy(labels[1500:], classes)
    print(f"Accuracy on {len(classes)} new digits: {accuracy:.3f}")


if __name__ == "__main__":
    main()
