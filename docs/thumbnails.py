"""Makes docs/images/gallery/ from the built pages: the picture of each cell tagged "thumbnail".

make docs && .venv/bin/python docs/thumbnails.py
"""

import base64
import io
import json
import pathlib

from PIL import Image

DOCS = pathlib.Path(__file__).parent
SIZE = (480, 270)


def picture(notebook):
    """The PNG of a notebook's tagged cell, bytes."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if "thumbnail" in cell["metadata"].get("tags", []):
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    raise SystemExit(f"{notebook.name} has no picture in a cell tagged thumbnail.")


def main():
    """Writes one small PNG for each tutorial."""
    folder = DOCS / "images" / "gallery"
    folder.mkdir(exist_ok=True)
    for script in sorted((DOCS / "tutorials").glob("*.py")):
        notebook = DOCS / "_build" / "jupyter_execute" / "tutorials" / f"{script.stem}.ipynb"
        image = Image.open(io.BytesIO(picture(notebook))).convert("RGB")
        image.thumbnail(SIZE, Image.Resampling.LANCZOS)
        canvas = Image.new("RGB", SIZE, "white")
        canvas.paste(image, ((SIZE[0] - image.width) // 2, (SIZE[1] - image.height) // 2))
        canvas.quantize(48).save(folder / f"{script.stem}.png", optimize=True)


if __name__ == "__main__":
    main()
