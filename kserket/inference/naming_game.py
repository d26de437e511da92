"""Naming games: agents agree on a sign for every object by proposing and accepting.

Agent m holds log p(x_m | w) for each sign w. The signs w are samples of

    p(w | x_1 ... x_M)  ~  p(w) prod_m p(x_m | w)

though no agent knows what another one sees. A speaker proposes w* from its own p(w | x); with
probability min(1, prod p(x_l | w*) / p(x_l | w)) over the listeners l it replaces w. That is
Metropolis-Hastings: the proposal's density cancels the speaker's own factor of the target.

An agent that has not seen an object proposes nothing for it, and as a listener it accepts.

Reference: Taniguchi, Yoshida, Matsui, Le Hoang, Taniguchi and Hagiwara, "Emergent communication
through Metropolis-Hastings naming game with deep generative models", Advanced Robotics 37(19),
2023; Inukai, Taniguchi, Taniguchi and Hagiwara, "Recursive Metropolis-Hastings naming game",
Frontiers in Artificial Intelligence 6, 2023.
"""

import functools

import numpy as np

PROTOCOLS = ("metropolis", "recursive", "accept_all", "gibbs", "none")
UNNAMED = -1  # the sign of an object that no agent has seen


def first_signs(log_evidence, seen, log_prior=None):
    """The most probable sign of each object, given what all agents have seen.

    Args:
        log_evidence: Array (M, N, K), log p(x | sign) of each agent.
        seen: Boolean array (M, N).
        log_prior: Array (N, K), or None for a uniform prior.

    Returns:
        Integers (N,), `UNNAMED` where no agent has seen the object.
    """
    signs = _target(log_evidence, log_prior).argmax(axis=1)
    return np.where(seen.any(axis=0), signs, UNNAMED)


def play(
    log_evidence,
    seen,
    signs,
    rng,
    protocol="metropolis",
    num_turns=1,
    num_inner=1,
    log_prior=None,
):
    """Plays some iterations, in each of which every agent speaks once, in random order.

    Args:
        log_evidence: Array (M, N, K), log p(x | sign) of each agent; rows of zeros where it has
            not seen the object.
        seen: Boolean array (M, N).
        signs: Integers (N,) to start from.
        rng: `numpy.random.Generator`.
        protocol: "metropolis"; "recursive" (a proposal passes from agent to agent, each of which
            accepts or keeps the sign; approximate, the better the larger `num_inner`);
            "accept_all" (every proposal is taken); "gibbs" (signs are drawn from the product, which
            only an oracle knows); "none" (signs stay).
        num_turns: Number of iterations.
        num_inner: Proposals that each agent of "recursive" weighs for one that it passes on: a sign
            takes `num_inner ** (M - 1)` of them.
        log_prior: Array (N, K), or None for a uniform prior.

    Returns:
        Signs (N,), and the share of proposals that were accepted.
    """
    named = np.flatnonzero(seen.any(axis=0))
    signs = np.array(signs)
    if protocol == "none" or len(named) == 0:
        return signs, 0.0
    evidence, seen = log_evidence[:, named], seen[:, named]
    prior = None if log_prior is None else log_prior[named]
    play_turn = {
        "metropolis": _metropolis,
        "recursive": functools.partial(_recursive, num_inner=num_inner),
        "accept_all": _accept_all,
        "gibbs": _gibbs,
    }[protocol]
    accepted = []
    for _ in range(num_turns):
        order = rng.permutation(len(evidence))
        signs[named], share = play_turn(evidence, seen, signs[named], order, prior, rng)
        accepted.append(share)
    return signs, float(np.mean(accepted))


def _metropolis(evidence, seen, signs, order, prior, rng):
    total, rows = _target(evidence, prior), np.arange(len(signs))
    accepted = proposed = 0
    for speaker in order:
        proposal = _draw(evidence[speaker], rng)
        others = total - evidence[speaker]
        ratio = others[rows, proposal] - others[rows, signs]
        takes = _accepts(ratio, rng) & seen[speaker]
        signs = np.where(takes, proposal, signs)
        accepted, proposed = accepted + takes.sum(), proposed + seen[speaker].sum()
    return signs, accepted / max(proposed, 1)


def _recursive(evidence, seen, signs, order, prior, rng, num_inner=1):
    rows, accepted = np.arange(len(signs)), []
    seen_first = np.argsort(~seen[order], axis=0, kind="stable")  # (M, N): who has not seen, ends
    factors = list(evidence[order][seen_first, rows])
    if prior is not None:
        factors.append(prior)

    def sample(last, current):
        """A draw from the product of the first factors, by chains that start at `current`."""
        if last == 0:
            return _draw(factors[0], rng)
        for _ in range(num_inner):
            proposal = sample(last - 1, current)
            ratio = factors[last][rows, proposal] - factors[last][rows, current]
            takes = _accepts(ratio, rng)
            accepted.append(takes.mean())
            current = np.where(takes, proposal, current)
        return current

    return sample(len(factors) - 1, signs), float(np.mean(accepted))


def _accept_all(evidence, seen, signs, order, prior, rng):
    for speaker in order:
        signs = np.where(seen[speaker], _draw(evidence[speaker], rng), signs)
    return signs, 1.0


def _gibbs(evidence, seen, signs, order, prior, rng):
    return _draw(_target(evidence, prior), rng), 1.0


def _target(log_evidence, log_prior):
    """log p(sign, all that was seen), (N, K), up to a constant per row."""
    total = log_evidence.sum(axis=0)
    return total if log_prior is None else total + log_prior


def _accepts(log_ratio, rng):
    return np.log1p(-rng.random(len(log_ratio))) <= log_ratio


def _draw(log_probs, rng):
    """One class (N,) of each row (N, K) of unnormalized log probabilities (Gumbel-max trick)."""
    return (log_probs + rng.gumbel(size=log_probs.shape)).argmax(axis=1)
