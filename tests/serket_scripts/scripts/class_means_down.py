"""A sampler of one's own sends its class means down to data, where nobody reads them."""

import numpy as np

import kserket as srk
from kserket import mlda


class Sampler(srk.Module):
    def __init__(self, K, name="sampler"):
        super(Sampler, self).__init__(name, True)
        self.K = K

    def update(self):
        X = self.get_observations()[0]
        prior = self.get_backward_msg()
        N, D = X.shape
        if prior is None:
            prior = np.ones((N, self.K)) / self.K
        rng = np.random.RandomState(0)
        mu = X[rng.choice(N, self.K, replace=False)].copy()
        for _ in range(10):
            distances = ((X[:, None] - mu[None]) ** 2).sum(2)
            P = np.exp(-0.5 * distances) * prior + 1e-9
            P = (P.T / P.sum(1)).T
            mu = P.T.dot(X) / P.sum(0)[:, None]
        hidden_state = P.argmax(axis=1)
        assert hidden_state.shape == (N,)
        self.set_forward_msg(P)
        self.send_backward_msgs([mu])


obs1 = srk.Observation(np.loadtxt("points.txt"))
obs2 = srk.Observation(np.loadtxt("words.txt"))
sampler = Sampler(5)
mlda1 = mlda.MLDA(5, [100, 100], category=np.loadtxt("category.txt"))
sampler.connect(obs1)
mlda1.connect(sampler, obs2)
for it in range(3):
    sampler.update()
    mlda1.update()
assert sampler.get_backward_msg().shape == (100, 5)
