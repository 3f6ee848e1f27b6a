"""Number the chapters as they stand in _toc.yml: files, exercises and everything that names them.

    python book/scripts/renumber_chapters.py

To put a chapter between others, or to split one: write the notebook, put it into _toc.yml under
any name without a number (`notebooks/4-physics/saturation`), and call this. Every chapter then has
its place in the book as its number: in the name of its notebook and of its module of exercises,
and wherever text or code names a chapter, its file, or one of its exercises. To move or take out a
chapter, change _toc.yml and call it, too; what still names a chapter that is gone is listed.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from address import ROOT
from contents import all_pages, read_toc

NAMED = re.compile(r"(notebooks/[^/]+/)(?:(\d\d)-)?(.+)")
TEXT = {".cff", ".css", ".html", ".ipynb", ".js", ".md", ".py", ".toml", ".yml"}

# One number, or a link whose text it is, and what may stand between two of them.
NUMBER = r"\d+(?:\]\([^)]*\))?"
CHAPTERS = re.compile(
    rf"(?P<head>\b[Cc]hapters?(?:\s|\\n\",\s+\")+\[?)"
    rf"(?P<list>{NUMBER}(?:(?:, and |, | and | to | or )\[?{NUMBER})*)(?![\d.]*\d)"
)
EXERCISE = re.compile(
    r"(?P<head>\b[Ee]xercises?(?:\.\w+\(\\?[\"'])?\s*)(?P<list>\d+\.\d+(?: \d+\.\d+)*)"
)
# In a list: not the numbers in the links' addresses, nor those of the exercises in their chapters.
ONE = re.compile(r"(?<![\w./-])\d+(?![\w/-])")
CONSTANT = re.compile(r"(?P<head>^CHAPTERS = \")(?P<list>[\d, ]+)", re.M)
# Rows of the README's map of the book, and of the table of letters.
MAP = re.compile(r"(?P<head>(?:^\| [IVX]+\. [^|]+\| |(?<= · )))(?P<list>\d+)(?= )", re.M)
LETTERS = re.compile(r"(?P<head>^\|.*\| )(?P<list>\d+(?:, \d+)*)(?= \|$)", re.M)


@dataclass(frozen=True)
class Plan:
    """What has to change.

    Attributes:
        pages: name of a chapter in _toc.yml -> its new name.
        numbers: old number -> new number; None where the chapter is gone.
    """

    pages: dict[str, str]
    numbers: dict[int, int | None]

    @property
    def moved(self) -> dict[str, str]:
        """The pages whose names change."""
        return {old: new for old, new in self.pages.items() if old != new}

    def number(self, old: str) -> str:
        """The new number of a chapter; the old one if it is gone."""
        return str(self.numbers.get(int(old)) or int(old))


def make_plan(root: Path = ROOT) -> Plan:
    """Compares the names of the chapters with their order in _toc.yml."""
    pages, numbers = {}, {}
    for path in (root / "notebooks").glob("*/*.ipynb"):
        found = re.match(r"\d\d", path.name)
        if found:
            numbers[int(found[0])] = None
    chapters = [page for page in all_pages(read_toc(root)) if page.startswith("notebooks/")]
    for number, page in enumerate(chapters, start=1):
        folder, old, name = NAMED.fullmatch(page).groups()
        pages[page] = f"{folder}{number:02d}-{name}"
        if old:
            numbers[int(old)] = number
    return Plan(pages, numbers)


def rewritten(text: str, path: Path, plan: Plan) -> str:
    """The text of a file with the new numbers and names."""
    for old, new in plan.moved.items():
        name, new_name = old.rpartition("/")[2], new.rpartition("/")[2]
        # A name with a number is one wherever it stands alone; another may be any word.
        after = r"(?![\w-])" if re.match(r"\d\d-", name) else r"(?=\.ipynb)"
        text = re.sub(rf"(?<![\w-]){re.escape(name)}{after}", f"\0{new_name}", text)
        if path.name == "_toc.yml":
            text = text.replace(f"{old}\n", f"{new}\n")
    text = text.replace("\0", "")

    def renumber(match: re.Match) -> str:
        def each(number: re.Match) -> str:
            return plan.number(number[0])

        return match["head"] + ONE.sub(each, match["list"])

    patterns = [CHAPTERS, EXERCISE]
    if path.suffix == ".py":
        patterns.append(CONSTANT)
    if path.name == "README.md":
        patterns.append(MAP)
    if path.name == "notation.md":
        patterns.append(LETTERS)
    for pattern in patterns:
        text = pattern.sub(renumber, text)
    own = re.match(r"chapter(\d\d)\.py$|(\d\d)-.*\.ipynb$", path.name)
    if own:
        # The names of its exercises, and its own sections.
        old = int(own[1] or own[2])
        head = r"\"" if own[1] else r"\b[Ss]ections? "
        text = re.sub(rf"({head}){old}(?=\.\d)", lambda m: m[1] + plan.number(str(old)), text)
    return text


def text_files(root: Path) -> list[Path]:
    """The files of the project that people write."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [root / name for name in names if Path(name).suffix in TEXT and (root / name).is_file()]


def renames(root: Path, plan: Plan) -> dict[Path, Path]:
    """Notebooks and modules of exercises that get another name."""
    found = {
        root / f"{old}.ipynb": root / f"{new}.ipynb"
        for old, new in plan.moved.items()
        if (root / f"{old}.ipynb").exists()
    }
    folder = root / "lemmse" / "exercises"
    for old, new in plan.numbers.items():
        module = folder / f"chapter{old:02d}.py"
        if new not in (None, old) and module.exists():
            found[module] = folder / f"chapter{new:02d}.py"
    return found


def renumber(root: Path = ROOT) -> list[str]:
    """Does it.

    Returns:
        What a person has to look at, in words.
    """
    plan = make_plan(root)
    left = []
    for path in text_files(root):
        text = path.read_text(encoding="utf-8")
        left += gone(text, path.relative_to(root), plan)
        new = rewritten(text, path, plan)
        if new != text:
            path.write_text(new, encoding="utf-8")
    moves = renames(root, plan)
    waiting = {old: old.with_name(f"moving-{old.name}") for old in moves}
    for old, between in waiting.items():
        old.rename(between)
    for old, between in waiting.items():
        between.rename(moves[old])
    return left


def gone(text: str, path: Path, plan: Plan) -> list[str]:
    """Where a file names chapters that are no longer in the book."""
    found = []
    for match in CHAPTERS.finditer(text):
        for number in ONE.findall(match["list"]):
            if plan.numbers.get(int(number), 0) is None:
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path}:{line}: chapter {number} is not in the book any more")
    return found


def main() -> None:
    """Renumber the chapters of this repository."""
    plan = make_plan()
    for old, new in plan.moved.items():
        print(f"{old} -> {new}")
    left = renumber()
    print(*left, sep="\n", end="\n" if left else "")
    sys.exit(bool(left))


if __name__ == "__main__":
    main()
