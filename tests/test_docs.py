"""Runs every tutorial, and every Python block of README.md and docs/, one namespace a page.

A block with `<!-- no-run: reason -->` on the line before it is not run; other kinds of block
(`console`, `text`, MyST directives) never are.
"""

import ast
import inspect
import pathlib
import pkgutil
import re
import textwrap
from runpy import run_path

import pytest

import kserket as srk

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    page.relative_to(ROOT).as_posix()
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "_build" not in page.parts
]
TUTORIALS = sorted(path.name for path in (ROOT / "docs" / "tutorials").glob("*.py"))
BLOCK = re.compile(
    r"^(?P<before>[^\n]*)\n(?P<indent>[ \t]*)```python[^\n]*\n(?P<code>.*?)^[ \t]*```[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
NO_RUN = re.compile(r"<!-- no-run: \S.*-->")


def blocks(text):
    """The code of each block to run, with its first line's number."""
    for match in BLOCK.finditer("\n" + text):
        if not NO_RUN.search(match["before"]):
            line = text.count("\n", 0, match.start("code") - 1) + 1
            yield line, textwrap.dedent(match["code"])


def run(text, name):
    """Executes a page's blocks in one namespace; errors show the page's line numbers."""
    namespace = {"__name__": "__main__"}
    for line, code in blocks(text):
        try:
            exec(compile("\n" * (line - 1) + code, name, "exec"), namespace)
        except ImportError as error:
            if "kserket[" not in str(error):
                raise
            pytest.skip(str(error))  # an extra that is not installed here
    return namespace


def docstrings():
    """Every docstring of the package that shows code: its place, and itself."""
    for path in sorted((ROOT / "kserket").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node) or ""
                if "```python" in text:
                    name = getattr(node, "name", "")
                    yield pytest.param(text, id=f"{path.relative_to(ROOT).as_posix()}:{name}")


DOCSTRINGS = list(docstrings())


@pytest.mark.parametrize("text", DOCSTRINGS)
def test_docstring_runs(text):
    run(text, "docstring")


def test_docstrings_are_found():
    assert len(DOCSTRINGS) >= 10


@pytest.mark.parametrize("page", PAGES)
def test_page_runs(page):
    run((ROOT / page).read_text(encoding="utf-8"), str(ROOT / page))


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_runs(name):
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    run_path(str(ROOT / "docs" / "tutorials" / name), run_name="__main__")
    assert pyplot.get_fignums()
    pyplot.close("all")


def test_tutorials_are_found():
    assert "naming_game.py" in TUTORIALS


def test_pages_are_found():
    assert {"README.md", "docs/index.md"} < set(PAGES)
    total = sum(len(list(blocks((ROOT / page).read_text(encoding="utf-8")))) for page in PAGES)
    assert total >= 5


def test_every_page_is_in_the_table_of_contents():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    listed = set()
    for entry in re.findall(r"^(?:[^<\n]*<)?([\w/*]+)>?$", index, re.MULTILINE):
        listed |= {p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob(f"{entry}.md")}
    assert set(PAGES) - listed == {"README.md", "docs/index.md"}


def test_every_tutorial_is_in_the_table_of_contents_and_the_gallery():
    for page, entry in (("index", r"^tutorials/(\w+)$"), ("gallery", r"^:link: tutorials/(\w+)$")):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        if page == "index":
            text = text.partition(":caption: Tutorials")[2].partition("```")[0]
        listed = re.findall(entry, text, re.MULTILINE)
        assert sorted(f"{name}.py" for name in listed) == sorted(TUTORIALS), page
    for name in TUTORIALS:
        source = (ROOT / "docs" / "tutorials" / name).read_text(encoding="utf-8")
        assert source.count('# %% tags=["thumbnail"]') == 1, name


def test_every_example_is_on_the_site():
    names = {path.stem for path in (ROOT / "examples").glob("*.py")}
    sources = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert set(re.findall(r"literalinclude\} \.\./examples/(\w+)\.py", sources)) == names
    gallery = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"examples\.md#([\w-]+)", gallery))
    assert linked == {name.replace("_", "-") for name in names}


def public_names():
    """What users call: functions and classes of the front door and of its modules."""
    for name in srk.__all__:
        value = getattr(srk, name)
        if not inspect.ismodule(value):
            yield name
            continue
        for member in getattr(value, "__all__", vars(value)):
            found = getattr(value, member)
            own = getattr(found, "__module__", "").startswith(value.__name__)
            if own and callable(found) and not member.startswith("_") and member != "keras":
                if not hasattr(srk, member):
                    yield f"{name}.{member}"


def test_every_public_name_has_a_page_in_the_reference():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^   (\w[\w.]*)$", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    for name in listed:
        assert pkgutil.resolve_name(f"kserket.{name}")
    missing = {name for name in public_names() if name.partition(".")[0] not in listed}
    assert not missing - set(listed) - {"__version__"}


def test_the_runner_runs_what_it_should():
    page = textwrap.dedent("""\
        ```python
        a = 1
        ```
        ```console
        not python
        ```
        <!-- no-run: needs a robot -->
        ```python
        a = 2
        ```
        1. In a list:
           ```python
           b = a + 10
           ```
        """)
    assert [line for line, _ in blocks(page)] == [2, 13]
    namespace = run(page, "page.md")
    assert (namespace["a"], namespace["b"]) == (1, 11)
    with pytest.raises(ZeroDivisionError) as raised:
        run("Text.\n\n```python\nx = 1\nx / 0\n```\n", "page.md")
    assert raised.traceback[-1].lineno + 1 == 5
