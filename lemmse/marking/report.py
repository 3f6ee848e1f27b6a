"""What a lecturer reads: a table, a summary, and a page of feedback for each student."""

import csv
from collections import defaultdict
from pathlib import Path

from lemmse.exercises import EXERCISES
from lemmse.files import replaced
from lemmse.marking.handin import RESULTS, Mark

_MISTAKES = 10  # shown for each exercise
UTF8 = {"encoding": "utf-8", "errors": "backslashreplace"}  # names of files may be no UTF-8


def write(out: Path, marks: dict[str, list[Mark]], students: int, secret: bool) -> None:
    """Write marks.csv, summary.md and feedback/<student>.md, each whole or not at all."""
    with replaced(out / "marks.csv") as draft, draft.open("w", newline="", **UTF8) as f:
        table = csv.writer(f)
        table.writerow(["student", "exercise", "result"])
        for student, found in marks.items():
            table.writerows([student, mark.exercise, mark.result] for mark in found)
    with replaced(out / "summary.md") as draft:
        draft.write_text(summary(marks, students), **UTF8)
    (out / "feedback").mkdir(exist_ok=True)
    for student, found in marks.items():
        with replaced(out / "feedback" / f"{student}.md") as draft:
            draft.write_text(feedback(student, found, secret), **UTF8)


def feedback(student: str, marks: list[Mark], secret: bool) -> str:
    """What a student is told."""
    right = sum(mark.result == "right" for mark in marks)
    inputs = "the inputs of the notebook" + " and others" * secret
    lines = [f"# {student}", "", f"{right} of {len(marks)} exercises right, on {inputs}."]
    for mark in marks:
        title = EXERCISES[mark.exercise].title
        lines += ["", f"## Exercise {mark.exercise}, {title}: {mark.result}"]
        lines += ["", "```text", mark.text.replace("```", "'''"), "```"]
    return "\n".join(lines) + "\n"


def summary(marks: dict[str, list[Mark]], students: int) -> str:
    """How many students have what, and the most frequent mistakes."""
    by_exercise = defaultdict(list)
    for student, found in marks.items():
        for mark in found:
            by_exercise[mark.exercise].append((student, mark))
    lines = [
        "# Marks",
        "",
        f"{len(marks)} of {students} hand-ins are marked.",
        "",
        f"| exercise | {' | '.join(RESULTS)} |",
        f"|---|{'--:|' * len(RESULTS)}",
    ]
    for number, found in by_exercise.items():
        counts = [sum(mark.result == result for _, mark in found) for result in RESULTS]
        lines.append(f"| {number} | {' | '.join(map(str, counts))} |")
    lines += ["", "## The most frequent mistakes"]
    for number, found in by_exercise.items():
        lines += _mistakes(number, found)
    return "\n".join(lines) + "\n"


def _mistakes(number: str, found: list[tuple[str, Mark]]) -> list[str]:
    """The mistakes in one exercise, the most frequent first."""
    who = defaultdict(list)
    for student, mark in found:
        if mark.failed is not None:
            who[mark.result, mark.failed].append(student)
    if not who:
        return []
    lines = ["", f"### {number} {EXERCISES[number].title}", ""]
    for (result, failed), students in sorted(who.items(), key=lambda item: -len(item[1])):
        said = f"not one that {failed}" if result == "wrong" else failed
        hint = EXERCISES[number].hint_of(failed)
        lines.append(f"- {len(students)} {result}, {said} ({', '.join(students)})")
        lines += [f"  *Hint given:* {hint}"] * bool(hint)
    return lines[: 3 + 2 * _MISTAKES]
