"""Runs the Python snippets of the manual, after the commands of their page.

    python reference/run_snippets.py target/release/normed

needs torch, transformers, peft and pillow. A page's files and commands are those that the test of the manual runs
(crates/normed-cli/tests/manual.rs); a snippet must print something.
"""

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


def blocks(page):
    """The fenced blocks of a page: the info string and the text of each."""
    return re.findall(r"^```(\w[^\n]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def run(page, normed):
    """Runs the snippets of the file `page` and returns their number."""
    found = blocks(page.read_text())
    snippets = [text for info, text in found if info == "python"]
    if not snippets:
        return 0
    with tempfile.TemporaryDirectory() as here:
        here = Path(here)
        (here / "models").mkdir()
        (here / "models/phantom").symlink_to(ROOT / "models/phantom")
        (here / "images").mkdir()
        Image.radial_gradient("L").resize((64, 64)).save(here / "images/chest_1.png")
        for info, text in found:
            if name := re.search(r"file=(\S+)", info):
                (here / name[1]).write_text(text)
            if info == "sh":
                for line in text.splitlines():
                    if line.startswith("normed "):
                        words = shlex.split(line, comments=True)
                        subprocess.run([normed, *words[1:]], cwd=here, check=True, capture_output=True)
        for snippet in snippets:
            done = subprocess.run([sys.executable, "-c", snippet], cwd=here, check=True, text=True, stdout=subprocess.PIPE)
            assert done.stdout.strip() and "[" not in done.stdout, f"{page.name}: it prints {done.stdout!r}"
            print(f"{page.name}: {done.stdout.strip()}")
    return len(snippets)


if __name__ == "__main__":
    normed = Path(sys.argv[1]).resolve()
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    count = sum(run(page, normed) for page in pages)
    assert count, "no snippet found"
