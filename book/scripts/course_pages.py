"""The pages that go with the notebooks of a course: README.md and the list of exercises."""

import re
from pathlib import Path

from address import install_source

TEMPLATES = Path(__file__).parent / "course"
COLAB = """\
Then upload `{wheel}` with the folder symbol on the left: the first cell of the
notebook installs it.
"""


def readme(copy, chapters, url, wheel):
    """README.md of a copy; `url` is the public address of the project, if it has one.

    Without an address the package comes as the file `wheel` in the folder of the copy.
    """
    source = f'"{install_source(url)}"' if url else wheel
    text = (TEMPLATES / f"{copy}.md").read_text(encoding="utf-8")
    where = "" if url else f"`{wheel}` lies beside this file.\n"
    colab = COLAB.format(wheel=wheel) if not url else "Its first cell installs the package.\n"
    filled = {"source": source, "where": where, "colab": colab, "contents": contents(chapters)}
    return text.format(**filled).rstrip() + "\n"


def contents(chapters):
    """The chapters with their exercises, as a section."""
    lines = ["## Chapters", "", "| chapter | exercises |", "|---|---|"]
    for chapter in chapters:
        link = f"[{chapter.number}. {chapter.title}]({chapter.path})"
        lines.append(f"| {link} | {', '.join(chapter.exercises)} |")
    return "\n".join(lines) + "\n"


def exercise_list(chapters, registered):
    """Every exercise of the book with what its check tests."""
    lines = [
        "# The exercises and their checks",
        "",
        "Every check first asks that the function runs, leaves its inputs as they are and returns",
        "a value of the right kind. Then follow the properties below, the reference last.",
    ]
    for chapter in chapters:
        lines += ["", f"## [{chapter.number}. {chapter.title}]({chapter.path})"]
        for number, title in chapter.exercises.items():
            lines += ["", f"### {number} {title}", ""]
            lines += describe(registered.get(number))
    return "\n".join(lines) + "\n"


def describe(exercise):
    """The lines on one exercise."""
    if exercise is None:
        return ["No check: an open question. The solution shows one way to begin."]
    agrees = (
        f"agrees with the reference, within {exercise.tolerance:g}, on {exercise.trials} inputs"
    )
    asked = [*((item.name, item.hint) for item in exercise.properties), (agrees, exercise.hint)]
    lines = [f"To be written: {escape(exercise.title)}. Your function ...", ""]
    for name, hint in asked:
        lines += [f"- {escape(name)}.", f"  *Hint:* {escape(hint)}."]
    wrong = f"The check itself is tested on {len(exercise.wrong)} wrong answers."
    return [*lines, "", wrong]


def escape(text):
    """Plain text as Markdown shows it unchanged; what stands between backticks is code already."""
    code = text.split("`")
    code[::2] = [re.sub(r"([\\*_<$])", r"\\\1", stretch) for stretch in code[::2]]
    return "`".join(code)
