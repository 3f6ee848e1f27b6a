"""The book's Markdown as plain Markdown, for readers who have a notebook and not the book.

The chapters are written in MyST: theorems and exercises are fenced blocks; references, citations
and computed numbers are roles. Jupyter Lab knows part of that with an extension, other editors
none. `Converter` numbers everything as the pages do and writes what every editor shows: headings,
bold names, `(7.3)` and `\\tag{7.3}`, authors and years, and the numbers themselves.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from posixpath import join, normpath

from pybtex.database import parse_file
from pybtex.plugin import find_plugin
from pybtex.richtext import Text

EQUATION = re.compile(r"\$\$(.+?)\$\$(?:[ \t]*\((eq-[\w-]+)\))?", re.DOTALL)
FENCE = re.compile(r":{3,}\{([\w:-]+)\} *(.*)")
HEADING_LABEL = re.compile(r"^\(([\w-]+)\)=\n+(#+ +(.*))$", re.MULTILINE)
LINK = re.compile(r"\[([^][]*)\]\(([^)\s]+\.(?:md|ipynb)(?:#[^)\s]*)?)\)")
OPTION = re.compile(r":([\w-]+): *(.*)")
ROLE = re.compile(r"\{([\w:-]+)\}`([^`]+)`")

CODE_ROLES = {"class", "func", "meth", "mod", "attr", "data", "exc"}
REFERENCE_ROLES = {"eq", "ref", "numref", "prf:ref"}
ADMONITIONS = {"admonition", "note", "tip", "hint", "important", "warning", "margin"}
STATEMENTS = {"theorem", "proposition", "lemma", "corollary", "definition"}
STATEMENTS |= {"remark", "example", "algorithm", "conjecture", "assumption"}


@dataclass(frozen=True)
class Piece:
    """A stretch of Markdown that belongs to the text, to an exercise or to a solution."""

    part: str
    source: str


class Bibliography:
    """Citations and references in words."""

    def __init__(self, path):
        """Read a BibTeX file."""
        self.entries = parse_file(path).entries
        self.style = find_plugin("pybtex.style.formatting", "plain")()
        self.backend = find_plugin("pybtex.backends", "markdown")()

    def __contains__(self, key):
        """Whether there is an entry of that key."""
        return key in self.entries

    def cite(self, key):
        """(authors, year) of an entry: ("Nadaraya", "1964")."""
        entry = self.entries[key]
        people = entry.persons.get("author") or entry.persons["editor"]
        names = [str(Text.from_latex(" ".join(p.prelast_names + p.last_names))) for p in people]
        if len(names) > 2:
            names = [f"{names[0]} et al."]
        return " and ".join(names), entry.fields["year"]

    def references(self, keys):
        """The entries as a Markdown list, in the order of authors and years."""
        entries = [self.entries[key] for key in sorted(keys, key=self.cite)]
        formatted = self.style.format_entries(entries)
        return "\n".join("- " + " ".join(e.text.render(self.backend).split()) for e in formatted)


@dataclass
class Book:
    """What one chapter needs to know of the others.

    Attributes:
        pages: paths of the pages that links may lead to -> their paths in the copy.
        bibliography: the entries that may be cited.
        values: name of a glued number -> its text.
        labels: label -> what a reference to it says; filled by the conversion itself.
        unresolved: what could not be resolved, in words.
    """

    pages: dict[str, str]
    bibliography: Bibliography
    values: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    unresolved: list[str] = field(default_factory=list)


class Converter:
    """Converts the Markdown of one page, in order, and counts on the way."""

    def __init__(self, book, page, chapter=""):
        """Start the page at the path `page`; `chapter` is its number in the book, if it has one."""
        self.book, self.page, self.chapter = book, page, chapter
        self.counts, self.cited = Counter(), set()
        self.part, self.exercises = "text", {}
        self.fences, self.pieces = [], []

    def convert(self, source):
        """The pieces of one Markdown cell."""
        self.pieces = []
        for kind, text in _split(source):
            if kind == "code":
                self._write(text)
            elif kind == "text":
                self._write(self.inline(text))
            elif kind == "close":
                self._close()
            else:
                self._open(*text.splitlines())
        merged = []
        for piece in self.pieces:
            if merged and merged[-1].part == piece.part:
                piece = Piece(piece.part, f"{merged.pop().source}\n\n{piece.source}")
            merged.append(piece)
        return [Piece(piece.part, _close_proofs(piece.source)) for piece in merged]

    def inline(self, text):
        """Running text: equations, references, citations, numbers and links."""
        text = HEADING_LABEL.sub(self._heading, text)
        text = EQUATION.sub(self._equation, text)
        text = ROLE.sub(self._role, text)
        return LINK.sub(self._link, text)

    def caption(self, figure):
        """The caption of a figure, from the metadata of its cell."""
        number = self._count("figure", figure.get("name"), "Fig. ")
        return f"**{number}.** {self.inline(figure.get('caption', ''))}"

    def references(self):
        """The works cited so far, as a section; empty if there are none."""
        if not self.cited:
            return ""
        return f"## Works cited\n\n{self.book.bibliography.references(self.cited)}"

    def _write(self, text):
        if text.strip():
            self.pieces.append(Piece(self.part, text.strip("\n")))

    def _open(self, fence, *options):
        name, argument = FENCE.fullmatch(fence).groups()
        label = dict(OPTION.fullmatch(line).groups() for line in options).get("label")
        argument = self.inline(argument.strip())
        if name.startswith("exercise") and not name.endswith("-end"):
            self.part = "exercise"
            number = self._count("exercise", label, "Exercise ")
            self.exercises[number.removeprefix("Exercise ")] = argument
            self._write(f"### {number}: {argument}")
        elif name.startswith("solution") and not name.endswith("-end"):
            self.part = "solution"
            target = self.book.labels.get(argument, argument)
            self._write(f"#### Solution of {target[:1].lower()}{target[1:]}")
        elif name == "prf:proof":
            self._write(f"*Proof{' ' if argument else ''}{argument}.*")
        elif name.startswith("prf:") and name[4:] in STATEMENTS:
            number = self._count(name[4:], label, f"{name[4:].capitalize()} ")
            title = f" ({argument})" if argument else ""
            self._write(f"<blockquote>\n\n**{number}**{title}**.**")
        elif name in ADMONITIONS:
            self._write(f"<blockquote>\n\n**{argument or name.capitalize()}.**")
        elif name not in ("exercise-end", "solution-end"):
            self.book.unresolved.append(f"{self.page}: no plain form of the directive {name!r}")
        self.fences.append(name)

    def _close(self):
        name = self.fences.pop()
        if name == "prf:proof":
            self._write(END_OF_PROOF)
        elif name.startswith("prf:") or name in ADMONITIONS:
            self._write("</blockquote>")
        elif name in ("exercise", "exercise-end", "solution", "solution-end"):
            self._write("---")
            self.part = "text"

    def _count(self, kind, label, prefix):
        """The next number of its kind, "Theorem 7.2", remembered under the label."""
        self.counts[kind] += 1
        number = f"{prefix}{self.chapter}.{self.counts[kind]}"
        if label:
            self.book.labels[label] = number
        return number

    def _heading(self, match):
        label, line, title = match.groups()
        self.book.labels[label] = title
        return line

    def _equation(self, match):
        body, label = match.groups()
        if not label:
            return match.group()
        number, space = self._count("equation", None, ""), "\n" if "\n" in body else " "
        self.book.labels[label] = f"({number})"
        return f"$${body.rstrip()}{space}\\tag{{{number}}}{space}$$"

    def _role(self, match):
        role, argument = match.groups()
        text, _, target = argument.rpartition(" <")
        target = target.removesuffix(">") if text else argument
        if role in CODE_ROLES:
            name = target.rpartition(".")[2] if target.startswith("~") else target
            return text or f"`{name}`"
        if role in REFERENCE_ROLES:
            return text or self._resolve(self.book.labels, target, "label")
        if role == "glue:text":
            return self._resolve(self.book.values, argument, "glued number")
        if role in ("cite:t", "cite:p"):
            return self._cite([key.strip() for key in argument.split(",")], role == "cite:t")
        self.book.unresolved.append(f"{self.page}: no plain form of the role {role!r}")
        return argument

    def _resolve(self, known, name, what):
        if name not in known:
            self.book.unresolved.append(f"{self.page}: unknown {what} {name!r}")
        return known.get(name, name)

    def _cite(self, keys, textual):
        known = [key for key in keys if key in self.book.bibliography]
        for key in set(keys) - set(known):
            self.book.unresolved.append(f"{self.page}: unknown citation {key!r}")
        self.cited.update(known)
        works = [self.book.bibliography.cite(key) for key in known]
        if textual:
            return ", ".join(f"{authors} ({year})" for authors, year in works)
        return f"({'; '.join(f'{authors}, {year}' for authors, year in works)})"

    def _link(self, match):
        text, target = match.groups()
        path, _, anchor = target.partition("#")
        if "://" in target:
            return match.group()
        page = normpath(join(self.page, "..", path))
        if page not in self.book.pages:
            if not page.startswith("book/"):
                self.book.unresolved.append(f"{self.page}: link to a missing page {target!r}")
            return text
        here = self.book.pages[self.page]
        up = "../" * here.count("/")
        return f"[{text}]({up}{self.book.pages[page]}{'#' * bool(anchor)}{anchor})"


START_OF_PROOF = re.compile(r"^(\*Proof[^*\n]*\*)\n\n(?=[^\W\d_]|\$[^$])", re.MULTILINE)
END_OF_PROOF = "\x00"


def _close_proofs(text):
    """Start a proof in the line of the word, and end it with a square in the line of its end."""
    text = START_OF_PROOF.sub(r"\1 ", text)
    text = re.sub(rf"(?<!\$\$)\n\n{END_OF_PROOF}", r" $\\square$", text)
    return text.replace(END_OF_PROOF, r"$\square$")


def _split(source):
    """(kind, text) of the stretches of a Markdown text: "text", "code", "open" or "close"."""
    lines, kind = [], "text"
    for line in source.splitlines():
        if kind == "open" and OPTION.fullmatch(line):
            lines.append(line)
            continue
        starts = FENCE.fullmatch(line) is not None
        ends = re.fullmatch(r":{3,} *", line) is not None
        fence = line.lstrip().startswith("```")
        if kind == "code":
            lines.append(line)
            if fence:
                yield kind, "\n".join(lines)
                lines, kind = [], "text"
        elif starts or ends or fence or kind == "open":
            yield kind, "\n".join(lines)
            lines, kind = [line], "open" if starts else "code" if fence else "text"
            if ends:
                yield "close", line
                lines = []
        else:
            lines.append(line)
    yield kind, "\n".join(lines)
