"""The public address of the project and what follows from it.

The one place where it stands is `repository.url` in _config.yml. The setup cells, the buttons of
the pages, the lines that install, and CITATION.cff are made from it: `make notebooks` rewrites the
files, `make book` the pages.
"""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def repository_url(root=ROOT):
    """`repository.url` of _config.yml: the public address of the project, or an empty string."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    url = config["repository"]["url"].rstrip("/")
    if url and "://" not in url:
        raise ValueError(f"repository.url must be empty or start with https://, got {url!r}")
    return url


def version(root=ROOT):
    """The version of the package, read without importing it."""
    text = (root / "lemmse" / "version.py").read_text(encoding="utf-8")
    return re.search(r'__version__ = "([^"]+)"', text).group(1)


def install_source(url, root=ROOT):
    """What pip installs this version from: "git+https://...@v1.2.3"."""
    return f"git+{url}@v{version(root)}"


def wheel_name(root=ROOT):
    """The file that `make wheel` writes."""
    return f"lemmse-{version(root)}-py3-none-any.whl"


def install_lines(url, root=ROOT):
    """The page's paragraph on installing the package alone, in Markdown."""
    if url:
        return f'```bash\npip install "{install_source(url, root)}"\n```'
    return (
        f"```bash\nmake wheel                                # writes _build/{wheel_name(root)}\n"
        f"pip install _build/{wheel_name(root)}\n```"
    )


def citation(text, url, root=ROOT):
    """CITATION.cff with the version of the package and the address, if there is one."""
    lines = [line for line in text.splitlines() if not line.startswith("repository-code:")]
    place = next(i for i, line in enumerate(lines) if line.startswith("version:"))
    lines[place] = f"version: {version(root)}"
    if url:
        lines.insert(place + 1, f"repository-code: {url}")
    return "\n".join(lines) + "\n"
