"""Numbers that are heard and seen: speech, LDA, tail-to-tail, VAE and GMM in one graph.

Somebody names handwritten digits. A recognizer of speech proposes several words for each recording
and is often wrong; an autoencoder and a mixture sort the images, and are sometimes wrong. A topic
model reads the words, and `TtoT` joins its topics with the classes of images: each side then learns
from the other one, down to the choice among the proposed words.

The images are scikit-learn's handwritten digits. The recognizer is SIMULATED: its first guess is
right in 55 of 100 cases, and the word that was said is in its list in 9 of 10. With --recordings it
is PocketSphinx (pip install "kserket[speech]"), and 0.wav, 1.wav, ... in that folder are recordings
of the digits in the order of `kserket.datasets.load_digits()`.

    python examples/number_recognition.py
    python examples/number_recognition.py --recordings folder

Labels simulate what is heard and score; nothing that learns sees them.

Reference: Taniguchi et al., "Neuro-SERKET", New Generation Computing 38, 2020.
"""

import argparse
import pathlib

import numpy as np

import kserket as srk
from kserket import gmm, mlda, speech_recog, tt, vae

DIGITS = "zero one two three four five six seven eight nine".split()
ALIKE = "hero won to free for hive heaven ate mine euro run do tree fort dive sick even late line"


def simulate_recognizer(labels, seed=0):
    """What a recognizer proposes for each recording.

    Args:
        labels: The digit that is said in each, (N,).
        seed: Integer.

    Returns:
        Dict from the name of a recording to a list of `(words, log score)`.
    """
    rng, others = np.random.default_rng(seed), DIGITS + ALIKE.split()
    heard = {}
    for n, label in enumerate(labels):
        guesses = [word for word in rng.permutation(others)[:10] if word != DIGITS[label]]
        chance = rng.random()
        if chance < 0.9:  # else it is not among them
            place = 0 if chance < 0.55 else rng.integers(1, len(guesses))
            guesses.insert(place, DIGITS[label])
        heard[f"{n}.wav"] = [([str(word)], -0.4 * rank) for rank, word in enumerate(guesses)]
    return heard


def make_graph(images, recordings, recognizer, labels, itr, seed):
    """The graph of Serket's experiment.

    Args:
        images: Array (N, D).
        recordings: Names of N recordings.
        recognizer: Function from a name to a list of `(words, log score)`.
        labels: Digits (N,), which only score.
        itr: Epochs of the autoencoder in a round.
        seed: Integer.

    Returns:
        A `Graph`.
    """
    speech = speech_recog.SpeechRecog(recordings, recognizer=recognizer, save_dir=None)
    lda1 = mlda.MLDA(10, [100], name="lda", category=labels, save_dir=None)
    vae1 = vae.VAE(10, itr=itr, batch_size=100, KL_param=1 / 16, save_dir=None)
    gmm1 = gmm.GMM(10, itr=50, category=labels, save_dir=None)
    tt1 = tt.TtoT(category=labels, save_dir=None)
    lda1.connect(speech)
    vae1.connect(srk.Observation(images, "images"))
    gmm1.connect(vae1)
    tt1.connect(lda1, gmm1)
    return srk.Graph(tt1, seed=seed)


def word_accuracy(graph, labels):
    """How often the likeliest word is the one that was said."""
    speech = graph["speech_recog"]
    heard = np.array(speech.words)[speech.get_forward_msg().argmax(axis=1)]
    return (heard == np.array(DIGITS)[labels]).mean()


def main(argv=None):
    """Learns, and prints what each side knows after each round.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=pathlib.Path, default=None)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few data and rounds: does it run?")
    args = parser.parse_args(argv)

    images, labels = srk.datasets.load_digits()
    if args.quick:
        images, labels = images[:300], labels[:300]
    if args.recordings is None:
        heard = simulate_recognizer(labels, args.seed)
        recordings, recognizer = list(heard), heard.get
    else:
        recordings = [args.recordings / f"{n}.wav" for n in range(len(labels))]
        recognizer = speech_recog.PocketSphinx()
    itr = 2 if args.quick else 50
    graph = make_graph(images, recordings, recognizer, labels, itr, args.seed)

    print("round   words     lda     gmm  tail-to-tail")
    for number in range(2 if args.quick else args.rounds):
        history = graph.fit(rounds=1, verbose=0).history
        accuracies = [history[f"{name}/accuracy"][-1] for name in ("lda", "gmm", "tt")]
        figures = [word_accuracy(graph, labels), *accuracies]
        print(f"{number + 1:5d}" + "".join(f"{figure:8.3f}" for figure in figures), flush=True)

    unheard = graph.predict({"images": images[:5]})
    print("Classes of five images without a word:", unheard.argmax(axis=1))


if __name__ == "__main__":
    main()
