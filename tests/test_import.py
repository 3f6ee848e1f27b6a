"""What `import lemmse` costs: torch, and little else until it is used."""

import subprocess
import sys

import pytest

import lemmse

HEAVY = ("matplotlib", "requests", "pooch", "skimage", "scipy", "IPython", "ipywidgets", "PIL")


def test_what_is_not_needed_is_imported_when_it_is_used():
    code = "import sys, lemmse; print([n for n in sys.argv[1:] if n in sys.modules]); lemmse.zoo"
    done = subprocess.run(
        [sys.executable, "-c", code, *HEAVY, "lemmse.datasets", "lemmse.plots"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_every_name_is_there():
    assert set(lemmse.__all__) <= set(dir(lemmse))
    for name in lemmse.__all__:
        assert getattr(lemmse, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'comparison'"):
        _ = lemmse.comparison
