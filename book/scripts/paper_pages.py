"""The pages of the built book as they stand on paper: one HTML document for each chapter.

Nothing moves, nothing is folded, and the solutions of all chapters make a document of their own. A
link that stays inside the book gets an address of its own kind, `lemmse:ID`; `join_pdf` turns it
into a link to the page where that id stands.
"""

import json
import posixpath
import re
from dataclasses import dataclass, field
from html import escape

from bs4 import BeautifulSoup

from contents import part_pages

SCHEME = "lemmse:"
SOLUTIONS = "solutions"
INTERACTIVE = "On the page of this chapter, controls choose what this figure shows."
ELSEWHERE = "The solution stands at the end of the book."
GONE = "script, style, .headerlink, .copybtn, details.above-input, .controls, .live"
MATHJAX = re.compile(r"\s*window\.MathJax\s*=\s*(\{.*\})\s*;?\s*", re.DOTALL)
ASSISTIVE = "a11y/assistive-mml"
FRONT_STYLE = """
.paper-title { padding-top: 8cm; text-align: center; }
.paper-contents { break-before: page; }
.paper-contents ul { padding: 0; list-style: none; }
.paper-contents li { display: flex; }
.paper-contents .leader { flex: 1; margin: 0 0.4rem 0.3rem; border-bottom: 1px dotted; }
"""


@dataclass
class Document:
    """What is printed at once.

    Attributes:
        name: of its file.
        title: its heading.
        body: its text, as HTML.
        headings: (level, id, title) of its headings, in their order.
        ids: everything in it that a link can lead to.
    """

    name: str
    title: str
    body: str
    headings: list = field(default_factory=list)
    ids: set = field(default_factory=set)


def slug(name):
    """What the ids of a page start with."""
    return name.replace("/", "-")


def read(pages, name):
    """The built page of that name in the folder of the pages."""
    return BeautifulSoup((pages / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


def paper_article(page, name, names):
    """The text of a page as it stands on paper, and its solutions apart."""
    article = page.select_one("article.bd-article")
    for tag in article.select(GONE):
        tag.decompose()
    for explorer in article.select("figure.lemmse-explorer"):
        unfold(explorer)
    for cell in article.select("div.cell"):  # only folded code was in it
        if not cell.get_text(strip=True) and not cell.find(["img", "svg", "table"]):
            cell.decompose()
    for details in article.select("details"):
        details["open"] = ""
    for tag in article.find_all(id=True):
        tag["id"] = f"{slug(name)}--{tag['id']}"
    for link in article.find_all("a", href=True):
        redirect(link, name, names)
    for image in article.find_all("img", src=True):
        image["src"] = here(name, image["src"])
        image.attrs.pop("loading", None)
    article["id"] = slug(name)
    return article, [take_out(solution) for solution in article.select(".solution")]


def unfold(explorer):
    """An explorer on paper: its first picture, which also those without JavaScript would see."""
    for hidden in explorer.find_all(hidden=True):
        hidden.decompose()
    for tag in explorer.select("noscript"):
        still = tag.find("img")
        if still:
            tag.insert_before(still.extract())
        tag.decompose()
    explorer.append(fragment(f"<p><em>{INTERACTIVE}</em></p>"))


def take_out(solution):
    """Take a solution out of its page; it says whose it is, and its place where it went."""
    title, exercise = solution.find(class_="admonition-title"), solution.find_previous(is_exercise)
    if title and exercise:
        title.string = f"Solution of {text_of(exercise.find(class_='admonition-title'))}"
    if solution.get("id"):
        address = f"{SCHEME}{solution['id']}"
        solution.insert_before(fragment(f'<p><a href="{address}">{ELSEWHERE}</a></p>'))
    return solution.extract()


def is_exercise(tag):
    """Whether a tag is the box of an exercise."""
    return tag.name == "div" and {"exercise", "admonition"} <= set(tag.get("class", []))


def fragment(text):
    """A piece of HTML as a tag."""
    return BeautifulSoup(text, "html.parser").contents[0]


def here(name, address):
    """An address on a page, as seen from the folder of the pages."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), address))


def redirect(link, name, names):
    """Let a link lead to a page of the book; where that is impossible it becomes plain text."""
    path, _, anchor = link["href"].partition("#")
    if "://" in path or path.startswith("mailto:"):
        return
    target = here(name, path).removesuffix(".html") if path else name
    if target in names:
        link["href"] = f"{SCHEME}{slug(target)}" + (f"--{anchor}" if anchor else "")
    else:
        link.unwrap()


def document(name, title, tags):
    """The document of some tags."""
    headings, ids = [], set()
    for tag in tags:
        ids.update(inner["id"] for inner in [tag, *tag.find_all(id=True)] if inner.get("id"))
        for heading in tag.find_all(["h1", "h2"]):
            place = heading if heading.get("id") else heading.find_parent(id=True)
            headings.append((int(heading.name[1]), place["id"], text_of(heading)))
    return Document(name, title, "".join(map(str, tags)), headings, ids)


def text_of(tag):
    """The words of a tag in one line."""
    return " ".join(tag.get_text().split())


def documents(pages, names):
    """The documents of the pages of these names, in their order; then those of the solutions."""
    made, solved = [], {}
    for name in names:
        article, solutions = paper_article(read(pages, name), name, names)
        made.append(document(slug(name), text_of(article.find("h1")), [article]))
        if solutions:
            title = f"<h2 id='{slug(name)}--{SOLUTIONS}'>{escape(made[-1].title)}</h2>"
            # Those of a part are printed at once: for those of the book Chromium takes a minute.
            part = solved.setdefault(slug(posixpath.dirname(name)), [])
            part += [fragment(title), *solutions]
    for part, tags in solved.items():
        if part == next(iter(solved)):
            tags.insert(0, fragment(f"<h1 id='{SOLUTIONS}'>Solutions</h1>"))
        box = fragment("<article class='bd-article'></article>")
        box.extend(tags)
        made.append(document(f"{SOLUTIONS}-{part}", "Solutions", [box]))
    return made


def front(toc, config, made, pages_of):
    """The title and the table of contents; `pages_of` maps the names of documents to page numbers.

    Where a number is not known yet there stands one as wide.
    """
    known = {one.name: one for one in made}
    solutions = [name for name in known if name.startswith(SOLUTIONS)][:1]

    def line(name):
        number = pages_of.get(name, 888)
        return (
            f"<li><a href='{SCHEME}{known[name].headings[0][1]}'>{escape(known[name].title)}</a>"
            f"<span class='leader'></span>{number}</li>"
        )

    lines = [
        f"<style>{FRONT_STYLE}</style>"
        f"<header class='paper-title'><h1>{escape(config['title'])}</h1>"
        f"<p>{config['author']}, {config['copyright']}</p></header>"
        "<nav class='paper-contents bd-article'><h2>Contents</h2><ul>"
    ]
    if slug(toc["root"]) in known:
        lines.append(line(slug(toc["root"])))
    lines.append("</ul>")
    for part in toc["parts"]:
        entries = [slug(name) for name in part_pages(part) if slug(name) in known]
        if entries:
            lines.append(f"<p><strong>{part['caption']}</strong></p><ul>")
            lines += [*map(line, entries), "</ul>"]
    lines += [f"<p></p><ul>{line(name)}</ul>" for name in solutions]
    return Document("front", "\N{NO-BREAK SPACE}", "".join([*lines, "</nav>"]))


def head_of(page, name, prefix):
    """The head of a built page, for a document from which the pages are reached by `prefix`.

    Of its scripts only those of MathJax stay, and these write no second copy of each formula for
    screen readers: that was most of the work of printing.
    """
    lines = ['<meta charset="utf-8"/>']
    for link in page.head.select("link[rel=stylesheet]"):
        link["href"] = prefix + here(name, link["href"])
        lines.append(str(link))
    for script in page.head.find_all("script"):
        settings = MATHJAX.fullmatch(script.string or "")
        if settings:
            mathjax = json.loads(settings[1])
            load = mathjax["loader"]["load"]
            mathjax["loader"]["load"] = [part for part in load if part != ASSISTIVE]
            lines.append(f"<script>window.MathJax = {json.dumps(mathjax)}</script>")
        elif "mathjax/" in script.get("src", ""):
            lines.append(f'<script defer src="{prefix}{here(name, script["src"])}"></script>')
    return "".join(lines)


def as_html(one, head, prefix, wanted):
    """The file of a document; links, which nobody sees, tell Chromium to remember `wanted`."""
    body = re.sub(r'(<img\b[^>]*\bsrc=")', rf"\g<1>{prefix}", one.body)
    links = "".join(f'<a href="#{name}"></a>' for name in sorted(wanted & one.ids))
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head>{head}'
        f"<title>{escape(one.title)}</title></head>"
        f"<body class='on-paper'><main>{body}</main><nav hidden>{links}</nav></body></html>"
    )


def wanted_ids(made):
    """Every id that a link or the outline leads to."""
    ids = {place for one in made for _, place, _ in one.headings}
    for one in made:
        ids.update(re.findall(rf'href="{SCHEME}([^"]+)"', one.body))
    return ids
