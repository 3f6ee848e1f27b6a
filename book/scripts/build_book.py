"""Build the pages in _build/html from the prose in book/ and the executed notebooks.

    python book/scripts/build_book.py                  build what changed
    python book/scripts/build_book.py --strict         build everything; warnings are errors
    python book/scripts/build_book.py --unless-built   only if there are no pages yet

Chapters that were not executed are shown without figures; --strict asks for all.

The sources are gathered in _build/source under the names that they have in the repository, so that
the links of the pages (Colab, repository) point at the files in the repository.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

from address import install_lines, repository_url
from contents import read_toc
from draft_pages import draft
from execute_notebooks import executed_copy, has_changed
from lab_copies import lab_files
from stored_numbers import stored_values
from sync_notebooks import ROOT, notebook_paths
from write_files import write_changed

BUILD = ROOT / "_build"
INDEX = BUILD / "html" / "index.html"
COLAB = "https://colab.research.google.com"


def book_config(url, root=ROOT):
    """_config.yml with what follows from the public address: buttons, and how to install."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"] = url
    config["html"]["use_repository_button"] = bool(url)
    config["html"]["use_issues_button"] = bool(url)
    config["sphinx"]["config"]["myst_substitutions"] = {"install": install_lines(url, root)}
    config["launch_buttons"] = {"colab_url": COLAB} if "//github.com/" in url else {}
    return config


def page_notebook(path):
    """The file of a page: the executed copy without the state of its widgets, or a draft."""
    if not executed_copy(path).exists():
        text = path.read_text(encoding="utf-8")
        return draft(text, int(path.name[:2]), stored_values(path) or {})
    notebook = nbformat.read(executed_copy(path), as_version=4)
    notebook.metadata.pop("widgets", None)
    return nbformat.writes(notebook)


def gather(config, toc, notebooks):
    """The sources of the pages: relative path -> bytes."""
    sources = {
        "_config.yml": yaml.safe_dump(config, sort_keys=False).encode(),
        "_toc.yml": yaml.safe_dump(toc, sort_keys=False).encode(),
    }
    for file in (ROOT / "book").rglob("*"):
        name = file.relative_to(ROOT)
        if file.is_file() and not {"scripts", "__pycache__"} & set(name.parts):
            sources[name.as_posix()] = file.read_bytes()
    for path in notebooks:
        sources[path.relative_to(ROOT).as_posix()] = page_notebook(path).encode()
    return sources


def jupyter_book(sources, output, strict=False):
    """Run Jupyter Book over `sources`; the pages go to output/_build/html. Its exit status."""
    folder = output / "_build" / "source"
    changed = write_changed(sources, folder)
    program = Path(sys.executable).with_name("jupyter-book")
    command = [str(program), "build", str(folder)]
    command += ["--path-output", str(output), "--quiet"]
    if strict:
        shutil.rmtree(output / "_build" / "html", ignore_errors=True)
        command += ["--warningiserror", "--nitpick", "--keep-going"]
    # Sphinx copies a style sheet only along with a page that changed.
    if strict or any(name.startswith("book/_static/") for name in changed):
        command.append("--all")
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    # What Sphinx complains about goes to stderr; stdout holds a banner only.
    return subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=False).returncode


def plain_copies(notebooks):
    """The plain copies that lie beside the pages, once all chapters are executed."""
    if not all(executed_copy(path).exists() for path in notebooks):
        return {}
    files, _ = lab_files("student", notebooks)
    return {f"copies/lab/{name}": content for name, content in files.items()}


def unready(notebooks):
    """Says which chapters lack an executed copy or have an old one; whether there are any."""
    missing = [path for path in notebooks if not executed_copy(path).exists()]
    old = [path for path in notebooks if path not in missing and has_changed(path)]
    for what, paths in (("not executed", missing), ("changed since their execution", old)):
        if paths:
            print(f"chapters {what}: " + " ".join(str(int(path.name[:2])) for path in paths))
    return bool(missing or old)


def main():
    """Build the whole book."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--strict", action="store_true", help="build all, warnings are errors")
    parser.add_argument("--unless-built", action="store_true", help="do nothing if there are pages")
    options = parser.parse_args()
    if options.unless_built and INDEX.exists():
        return 0
    notebooks = notebook_paths()
    if unready(notebooks) and options.strict:
        print("every chapter must be executed: book/scripts/execute_notebooks.py", file=sys.stderr)
        return 1
    config, copies = book_config(repository_url()), plain_copies(notebooks)
    if copies:
        config["sphinx"]["config"]["html_extra_path"] = ["copies"]
    sources = gather(config, read_toc(), notebooks) | copies
    print(f"building the pages of {len(notebooks)} chapters", flush=True)
    status = jupyter_book(sources, ROOT, options.strict)
    if status == 0:
        print(f"The book: {INDEX.as_uri()}", flush=True)
    else:
        print("the book was not built: see the messages above", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
