"""One spelling, one form of docstring, no phrase that a native would not write."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = ("kserket", "docs", "examples", "benchmarks", "tests")
TEXTS = [path for suffix in ("md", "py") for path in sorted(ROOT.glob(f"*.{suffix}"))]
for folder in FOLDERS:
    TEXTS += [
        path for suffix in ("md", "py") for path in sorted((ROOT / folder).rglob(f"*.{suffix}"))
    ]
TEXTS.remove(pathlib.Path(__file__))
SOURCES = [path for path in TEXTS if (ROOT / "kserket") in path.parents]

BRITISH = re.compile(
    r"""
    (?:normal|initial|maxim|minim|recogn|standard|marginal|vector|general|organ|summar|visual|random
       |optim|penal|regular|factor|synchron|serial|special|parametr)is(?:e|es|ed|er|ers|ing|ation)\b
    | behaviour | colour | favour | honour | neighbour | (?:de|of)fence\b | \blicence
    | \bcentre | centred | centring | \bgrey\b | judgement | artefact | catalogue\b | analyse
    | \btowards\b | \bwhilst\b | \bamongst\b | label(?:led|ling) | model(?:led|ling)
    """,
    re.IGNORECASE | re.VERBOSE,
)
STILTED = re.compile(
    r"\b(says so|(is|are) told|that is none|in the place of|(made|drawn|begins?) anew|as it is)\b"
)
SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Reference|Example|Messages):$")
ENTRY = re.compile(r" {4}\*{0,2}(\w[\w, *]*): (.*)$")
RAISES = re.compile(r"(If|Unless|Always|As in|As `|In|With|When)\b|As `")


def entries(docstring):
    """Entries of a docstring: (section, name, text)."""
    section = None
    for line in docstring.splitlines():
        header = SECTION.match(line)
        if header or (line and not line.startswith(" ")):
            section = header and header[1]
        elif section and (entry := ENTRY.match(line)):
            yield section, *entry.groups()


def faults(docstring):
    """Entries that are not of the form that all others have."""
    for section, name, text in entries(docstring):
        if section in ("Args", "Attributes") and text[0].islower():
            yield f"{name}: {text}"
        if section == "Raises" and not RAISES.match(text):
            yield f"{name}: {text}"


@pytest.mark.parametrize("words, texts", [(BRITISH, TEXTS), (STILTED, TEXTS)], ids=["us", "plain"])
def test_words(words, texts):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in texts
        if words is BRITISH or "tests" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for match in words.finditer(line)
    ]
    assert not found, "\n".join(found)


def test_docstrings_have_one_form():
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = [
        f"{path.relative_to(ROOT)}: {fault}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, kinds) and ast.get_docstring(node)
        for fault in faults(ast.get_docstring(node))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("word", ["Normalised", "grey", "neighbours", "the centre", "modelling"])
def test_british_words_are_found(word):
    assert BRITISH.search(word)
    assert not BRITISH.search(
        "normalized, gray neighbors of an optimist, raised otherwise, modeled"
    )


def test_entries_of_another_form_are_found():
    docstring = (
        "Sum.\n\nArgs:\n    x: the data.\n    y: More.\n\nRaises:\n    ValueError: it is bad.\n"
    )
    assert list(faults(docstring)) == ["x: the data.", "ValueError: it is bad."]
