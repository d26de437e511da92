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

import numpy as np

PROTOCOLS = ("metropolis", "unanimous", "recursive", "accept_all", "gibbs", "none")
UNNAMED = -1  # the sign of an object that no agent has named
DOUBT = 1e-6  # how probable all other signs are together, once one has been agreed on


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


def propose(log_evidence, seen, rng):
    """Signs that an agent draws from what it sees.

    Args:
        log_evidence: Array (N, K), log p(x | sign) of the agent.
        seen: Boolean array (N,).
        rng: `numpy.random.Generator`.

    Returns:
        Integers (N,), `UNNAMED` where the agent has not seen the object.
    """
    return np.where(seen, _draw(log_evidence, rng), UNNAMED)


def accept(log_evidence, proposal, signs, rng):
    """The signs after listeners have weighed a proposal.

    Args:
        log_evidence: Array (N, K), log p(x | sign) of one listener, or the sum over several; rows
            of zeros where none has seen the object: every proposal passes.
        proposal: Integers (N,), `UNNAMED` where nothing was proposed.
        signs: Integers (N,), the signs so far; the first proposal for an `UNNAMED` one passes.
        rng: `numpy.random.Generator`.

    Returns:
        Integers (N,).
    """
    rows = np.arange(len(signs))
    ratio = log_evidence[rows, proposal] - log_evidence[rows, signs]
    passes = np.log1p(-rng.random(len(signs))) <= ratio
    return np.where((passes | (signs == UNNAMED)) & (proposal != UNNAMED), proposal, signs)


def told(signs, num_signs, log_prior=None):
    """What agents hear: the sign, and hardly any doubt.

    Args:
        signs: Integers (N,).
        num_signs: K.
        log_prior: Array (N, K) from above, which they hear of `UNNAMED` objects; None is uniform.

    Returns:
        Logarithms (N, K).
    """
    heard = np.zeros((len(signs), num_signs)) if log_prior is None else np.array(log_prior)
    named = np.flatnonzero(signs != UNNAMED)
    heard[named] = np.log(DOUBT / max(num_signs - 1, 1))
    heard[named, signs[named]] = np.log1p(-DOUBT)
    return heard


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

    Each agent has a stream of random numbers of its own, which `rng` spawns.

    Args:
        log_evidence: Array (M, N, K), log p(x | sign) of each agent; rows of zeros where it has
            not seen the object.
        seen: Boolean array (M, N).
        signs: Integers (N,) to start from.
        rng: `numpy.random.Generator`.
        protocol: "metropolis" (all listeners decide together, by the product of their ratios);
            "unanimous" (each decides by its own ratio, and a sign that one of them rejects stays:
            exact, too, and nothing but signs passes between agents); "recursive" (a proposal passes
            from agent to agent, each of which accepts or keeps the sign; approximate, the better
            the larger `num_inner`); "accept_all" (every proposal is taken, so that the last speaker
            decides, another one for each object); "gibbs" (signs are drawn from the product, which
            only an oracle knows); "none" (signs stay).
        num_turns: Number of iterations.
        num_inner: Proposals that each agent of "recursive" weighs for one that it passes on: a sign
            takes `num_inner ** (M - 1)` of them.
        log_prior: Array (N, K), or None for a uniform prior.

    Returns:
        Signs (N,), and the share of proposals that were accepted.
    """
    signs = np.array(signs)
    if protocol == "none" or not seen.any():
        return signs, 0.0
    *rngs, last = rng.spawn(len(log_evidence) + 1)  # the last one is that of the prior
    factors = list(zip(log_evidence, rngs, strict=True))
    if log_prior is not None:
        factors.append((log_prior, last))
    play_turn = {
        "metropolis": _metropolis,
        "unanimous": _unanimous,
        "recursive": _recursive,
        "accept_all": _accept_all,
        "gibbs": _gibbs,
    }[protocol]
    shares = []
    for _ in range(num_turns):
        signs, share = play_turn(factors, seen, signs, rng, num_inner)
        shares.append(share)
    return signs, float(np.mean(shares))


def _metropolis(factors, seen, signs, rng, num_inner):
    def decide(speaker, proposal, signs):
        others = sum(logs for m, (logs, _) in enumerate(factors) if m != speaker)
        _, own = factors[speaker - 1]
        return accept(others, proposal, signs, own)

    return _speak_in_turn(factors, seen, signs, rng, decide)


def _unanimous(factors, seen, signs, rng, num_inner):
    def decide(speaker, proposal, signs):
        votes = [
            accept(logs, proposal, signs, own)
            for m, (logs, own) in enumerate(factors)
            if m != speaker
        ]
        return np.where((np.array(votes) == proposal).all(axis=0), proposal, signs)

    return _speak_in_turn(factors, seen, signs, rng, decide)


def _speak_in_turn(factors, seen, signs, rng, decide):
    """One proposal of each agent; `decide(speaker, proposal, signs)` gives the next signs."""
    taken = proposed = 0
    for speaker in rng.permutation(len(seen)):
        logs, own = factors[speaker]
        proposal = propose(logs, seen[speaker], own)
        signs = decide(speaker, proposal, signs)
        said = proposal != UNNAMED
        taken, proposed = taken + (signs == proposal)[said].sum(), proposed + said.sum()
    return signs, taken / max(proposed, 1)


def _recursive(factors, seen, signs, rng, num_inner):
    order, taken = rng.permutation(len(seen)), []
    chain = [(*factors[m], seen[m]) for m in order]
    chain += [(*factor, np.zeros_like(seen[0])) for factor in factors[len(seen) :]]

    def sample(last, current):
        """A draw from the product of the first factors, by chains that start at `current`."""
        logs, own, looks = chain[last]
        if last == 0:
            return propose(logs, looks, own)
        for _ in range(num_inner):
            proposal = sample(last - 1, current)
            said = proposal != UNNAMED  # else who comes first of those that have seen it speaks
            weighed = accept(logs, proposal, current, own)
            current = np.where(said, weighed, propose(logs, looks, own))
            taken.append((weighed == proposal)[said].mean() if said.any() else 0.0)
        return current

    found = sample(len(chain) - 1, signs)
    return np.where(found == UNNAMED, signs, found), np.mean(taken)


def _accept_all(factors, seen, signs, rng, num_inner):
    said = np.stack(
        [propose(logs, looks, own) for (logs, own), looks in zip(factors, seen, strict=False)]
    )
    last = np.where(seen, rng.random(seen.shape), -1.0).argmax(axis=0)
    heard = said[last, np.arange(len(signs))]
    return np.where(heard == UNNAMED, signs, heard), 1.0


def _gibbs(factors, seen, signs, rng, num_inner):
    drawn = _draw(sum(logs for logs, _ in factors), rng)
    return np.where(seen.any(axis=0), drawn, signs), 1.0


def _target(log_evidence, log_prior):
    """log p(sign, all that was seen), (N, K), up to a constant per row."""
    total = log_evidence.sum(axis=0)
    return total if log_prior is None else total + log_prior


def _draw(log_probs, rng):
    """One class (N,) of each row (N, K) of unnormalized log probabilities (Gumbel-max trick)."""
    return (log_probs + rng.gumbel(size=log_probs.shape)).argmax(axis=1)
