"""In an empty environment: the setup cell installs lemmse, and so does the wheel."""

import os
import shutil
import subprocess
import sys
import venv

import nbformat
import pytest

from address import ROOT, version, wheel_name
from make_course import student_setup
from sync_notebooks import notebook_paths, setup_source

pytestmark = pytest.mark.fresh_environment


def run(*command, **options):
    """Run a command; its output is the message when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A git repository with the files of this one, its own address as `repository.url`."""
    folder = tmp_path_factory.mktemp("published") / "lemmse"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in run(*listing, cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    config = folder / "_config.yml"
    before = config.read_text(encoding="utf-8")
    after = before.replace('  url: ""\n', f"  url: {folder.as_uri()}\n")
    assert after != before
    config.write_text(after, encoding="utf-8")
    run(sys.executable, str(folder / "book/scripts/sync_notebooks.py"))
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    run("git", "init", "--quiet", cwd=folder)
    run("git", "add", "--all", cwd=folder)
    run("git", *identity, "commit", "--quiet", "--message", "published", cwd=folder)
    run("git", "tag", f"v{version()}", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def environ():
    """The environment variables, without those that would lend the new one our packages."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    # The versions that are pinned here, in place of another download.
    return kept | {"PIP_CONSTRAINT": str(ROOT / "requirements.txt"), "MPLBACKEND": ""}


@pytest.fixture(scope="module")
def empty(tmp_path_factory, environ):
    """The bin folder of an environment that can run a notebook and holds nothing else."""
    folder = tmp_path_factory.mktemp("empty") / "environment"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(str(python), "-m", "pip", "install", "--quiet", "ipykernel", "nbclient", env=environ)
    return folder / "bin"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder with what `make wheel` writes."""
    folder = tmp_path_factory.mktemp("wheels")
    run("make", "--silent", "wheel", f"VENV={sys.prefix}", f"WHEELS={folder}", cwd=ROOT)
    return folder


def test_without_address_the_setup_cell_says_what_to_do(empty, environ, tmp_path):
    command = [str(empty / "python"), "-c", setup_source("")]
    done = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "ImportError: lemmse is not installed here" in done.stderr
    assert "run `make lab`" in done.stderr
    assert f"%pip install {wheel_name()}" in done.stderr


def test_with_address_the_notebook_installs_lemmse_and_runs(published, empty, environ, tmp_path):
    source = published / notebook_paths()[0].relative_to(ROOT)
    notebook = shutil.copy(source, tmp_path)
    run(str(empty / "jupyter-execute"), "--timeout=600", notebook, cwd=tmp_path, env=environ)
    command = "import lemmse; print(lemmse.__file__)"
    found = run(str(empty / "python"), "-c", command, cwd=tmp_path, env=environ)
    assert found.startswith(str(empty.parent))


def test_a_student_copy_installs_the_wheel_that_lies_beside(empty, environ, wheels, tmp_path):
    uninstall = ["-m", "pip", "uninstall", "--yes", "--quiet", "lemmse"]
    run(str(empty / "python"), *uninstall, env=environ)
    cells = [nbformat.v4.new_code_cell(student_setup("")), nbformat.v4.new_code_cell("device")]
    notebook = tmp_path / "part" / "chapter.ipynb"
    notebook.parent.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
    command = [str(empty / "jupyter-execute"), "--timeout=600", str(notebook)]
    alone = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert alone.returncode != 0
    assert "lemmse is not installed here" in alone.stderr
    assert f"{wheel_name()} comes" in alone.stderr
    shutil.copy(wheels / wheel_name(), tmp_path)
    run(*command, env=environ)


def test_the_wheel_holds_all_that_the_command_line_needs(environ, wheels, tmp_path):
    venv.create(tmp_path / "environment", with_pip=True)
    python = str(tmp_path / "environment" / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", str(wheels / wheel_name()), env=environ)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    command = [python, "-m", "lemmse"]
    said = run(*command, "estimate", "--images", "50", "--count", "2", cwd=folder, env=environ)
    assert "dB" in said
    assert "unet-p5" in run(*command, "models", cwd=folder, env=environ)
    weights = "import lemmse; lemmse.zoo.load('photos-grey/denoising/unet-p5')"
    run(python, "-c", weights, cwd=folder, env=environ)
