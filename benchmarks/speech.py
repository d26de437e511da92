"""Does a graph repair what a recognizer of speech got wrong? Rules of SpeechRecog compared.

    python benchmarks/speech.py                # lists of hypotheses that are simulated
    python benchmarks/speech.py --sound list   # words that eSpeak NG says and PocketSphinx hears,
                                               # one of a list of 40
    python benchmarks/speech.py --sound open   # any English

--sound needs pocketsphinx (the extra speech) and espeakng-loader. Each object has a word, which
says what kind of thing it is, and a picture, from which its kind is known in 3 of 4 cases. A topic
model reads both. Printed: how often the likeliest word is the one that was said; how often it is
the one that stands for what was said, each word heard standing for one word at most, which is all
that can be known without labels where a recognizer always mistakes the same word for the same
other; and how often the kind is right.
"""

import argparse
import ctypes
import pathlib
import tempfile

import numpy as np
from scipy.io import wavfile

import kserket as srk
from kserket import mlda, speech_recog

KINDS, WORDS_OF_KIND = 10, 2
RULES = {
    "expected counts": {},
    "expected counts, half the score": {"score_weight": 0.5},
    "expected counts, without the score": {"score_weight": 0.0},
    "one is drawn": {"resample": "one"},
    "one is drawn, without the score": {"resample": "one", "score_weight": 0.0},
}
ORIGINAL = {"resample": "one", "score_weight": 0.0}  # and what it said comes back to it


def simulated(seed, num_objects=300, num_hypotheses=10):
    """Lists of words and scores for each object, what was said, and its kind."""
    rng = np.random.default_rng(seed)
    num_words = KINDS * WORDS_OF_KIND
    kinds = rng.integers(KINDS, size=num_objects)
    said = WORDS_OF_KIND * kinds + rng.integers(WORDS_OF_KIND, size=num_objects)
    lists = {}
    for n, word in enumerate(said):
        heard = list(rng.permutation(np.setdiff1d(np.arange(2 * num_words), [word])))
        heard = heard[:num_hypotheses]
        if rng.random() < 0.55:
            heard[0] = word
        elif rng.random() < 0.78:
            heard[rng.integers(1, num_hypotheses)] = word
        lists[str(n)] = [([f"w{w}"], -0.4 * rank) for rank, w in enumerate(heard)]
    return lists, [f"w{word}" for word in said], kinds


NAMES = (
    "dog puppy cat kitten apple orange chair table water coffee "
    "train bus window door yellow green doctor nurse river ocean"
).split()
ALIKE = (
    "fog poppy cut mitten ample arrange share cable waiter toffee "
    "rain bust winter dour mellow grain proctor purse liver motion"
).split()


VOICES = "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5".split()


def spoken(seed, folder, words, num_objects=300):
    """The same of words that are said and heard: two for each of ten kinds, by any of 13 voices."""
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(np.arange(num_objects) % KINDS)
    said = [NAMES[WORDS_OF_KIND * k + rng.integers(WORDS_OF_KIND)] for k in kinds]
    say, recognizer, lists = speaker(), speech_recog.PocketSphinx(words=words), {}
    for n, word in enumerate(said):
        path = pathlib.Path(folder) / "said.wav"
        pitch, speed = int(rng.integers(30, 70)), int(rng.integers(130, 180))
        wavfile.write(path, *say(word, pitch, speed, f"en-us+{rng.choice(VOICES)}"))
        lists[str(n)] = recognizer(path) or [([], 0.0)]
    return lists, said, kinds


def speaker():
    """A function from a word and how it is said to what eSpeak NG says: rate, samples (T,)."""
    import espeakng_loader

    library, parts = ctypes.CDLL(espeakng_loader.get_library_path()), []
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(2, 0, data, 0)  # it gives its samples back

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def collect(samples, number, events):
        if samples and number > 0:
            parts.append(np.ctypeslib.as_array(samples, (number,)).copy())
        return 0

    library.espeak_SetSynthCallback(collect)

    def say(text, pitch=50, speed=150, voice="en-us"):
        parts.clear()
        library.espeak_SetVoiceByName(voice.encode())
        library.espeak_SetParameter(1, speed, 0)
        library.espeak_SetParameter(3, pitch, 0)
        content = text.encode()
        size = ctypes.c_size_t(len(content) + 1)
        library.espeak_Synth(content, size, 0, 0, 0, 1, None, None)
        library.espeak_Synchronize()
        return rate, np.concatenate(parts)

    say.keep = collect  # the library calls it as long as it speaks
    return say


def pictures(kinds, seed):
    """What pictures say of the kind: right in 3 of 4 cases, and known to be."""
    rng = np.random.default_rng([seed, 1])
    seen = np.where(rng.random(len(kinds)) < 0.75, kinds, rng.integers(KINDS, size=len(kinds)))
    return srk.Categorical(0.225 / (KINDS - 1) + (0.775 - 0.025) * np.eye(KINDS)[seen])


def of_words(heard, said):
    """How often words are right, and how often they are up to their names."""
    return np.mean(np.array(heard) == said), srk.metrics.clustering_accuracy(said, heard)


def run(lists, said, kinds, seed, rounds, hears_itself=False, **rule):
    """Accuracy of words, of words up to their names, and of kinds."""
    srk.Module.reset_names()
    speech = speech_recog.SpeechRecog(
        list(lists), recognizer=lists.get, save_dir=None, seed=seed, **rule
    )
    seen = srk.Module("pictures", learnable=False)
    seen.set_forward_msg(pictures(kinds, seed))
    mlda1 = mlda.MLDA(KINDS, category=kinds, seed=seed, save_dir=None)
    mlda1.connect(speech, seen, backward=not hears_itself)
    for _ in range(rounds):
        speech.update()
        mlda1.update()
        if hears_itself:  # P(w | d) by everything that is known of it, its own words too
            counts = speech.get_forward_msg()
            topics = mlda1.posterior.T @ counts + 0.05
            topics /= topics.sum(axis=1, keepdims=True)
            speech.set_backward_msg(mlda1.posterior @ topics)
    speech.update()
    heard = np.array(speech.words)[np.asarray(speech.get_forward_msg()).argmax(axis=1)]
    return *of_words(heard, said), mlda1.logs["accuracy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102, 103, 104])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sound", choices=["list", "open"], default=None)
    parser.add_argument("--objects", type=int, default=None)
    arguments = parser.parse_args()
    sizes = {} if arguments.objects is None else {"num_objects": arguments.objects}
    figures = {}
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            if arguments.sound is None:
                data = simulated(seed, **sizes)
            else:
                words = NAMES + ALIKE if arguments.sound == "list" else None
                data = spoken(seed, folder, words, **sizes)
        lists, said, kinds = data
        listed = [[" ".join(words) for words, _ in part] for part in lists.values()]
        first = of_words([part[0] for part in listed], said)
        among = np.mean([word in part for word, part in zip(said, listed, strict=True)])
        seen = srk.metrics.clustering_accuracy(kinds, pictures(kinds, seed).probs.argmax(axis=1))
        figures.setdefault("first guess; pictures alone", []).append((*first, seen))
        figures.setdefault("in the list at all", []).append((among, np.nan, np.nan))
        for name, rule in RULES.items():
            figures.setdefault(name, []).append(run(*data, seed, arguments.rounds, **rule))
        original = run(*data, seed, arguments.rounds, hears_itself=True, **ORIGINAL)
        figures.setdefault("as the original: drawn, no score, hears itself", []).append(original)
    print(f"seeds {arguments.seeds}, {arguments.rounds} rounds")
    print(f"{'':48} words          up to names    kinds")
    for name, rows in figures.items():
        means, spreads = np.mean(rows, axis=0), np.std(rows, axis=0)
        cells = [f"{mean:.3f} +- {sd:.3f}" for mean, sd in zip(means, spreads, strict=True)]
        print(f"{name:48} {' '.join(cells).replace('nan +- nan', '')}", flush=True)


if __name__ == "__main__":
    main()
