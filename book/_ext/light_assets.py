"""Styles, icons and scripts of the pages, cut to what the pages use.

The theme brings all of FontAwesome and of Bootstrap, and MathJax comes with every way of reading
and writing formulas: five megabytes before the first word. Here the icons become a font of those
in use, the style sheets lose the rules that no page can match, and MathJax is loaded in parts.
"""

import importlib.util
import logging
import re
import shutil
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

logging.getLogger("fontTools").setLevel(logging.WARNING)

MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static/mathjax"
MATHJAX_PARTS = ["core", "input/tex", "output/chtml", "a11y/assistive-mml"]
# What these load by themselves when a formula asks for it.
MATHJAX_MORE = ["startup.js", "input/tex/extensions", "output/chtml/fonts"]
FONTS = {
    "solid": ("Font Awesome 6 Free", "fa-solid-900.ttf", 900),
    "brands": ("Font Awesome 6 Brands", "fa-brands-400.ttf", 400),
}
ICON = re.compile(r"\bfa-[a-z0-9-]+")
CODE_POINT = re.compile(r"((?:\.fa-[a-z0-9-]+:before,?)+)\{content:\"\\([0-9a-f]+)\"\}")
PRIVATE = re.compile("[\ue000-\uf8ff]|(?<=\\\\)[ef][0-9a-f]{3}(?![0-9a-f])")
ICONS_CSS = """\
/* Icons of Font Awesome Free 6 (https://fontawesome.com), fonts under the SIL OFL 1.1. */
.fas, .far, .fab, .fa-solid, .fa-regular, .fa-brands {
  display: inline-block;
  font-style: normal;
  font-variant: normal;
  line-height: 1;
  text-rendering: auto;
  -webkit-font-smoothing: antialiased;
}
"""
FACE_CSS = """\
@font-face {{
  font-family: "{family}"; font-weight: {weight}; font-display: block;
  src: url("icons-{name}.woff") format("woff");
}}
:root {{ --fa-font-{name}: normal {weight} 1em/1 "{family}"; }}
"""
USE_CSS = """\
.fas, .far, .fa-solid, .fa-regular { font-family: "Font Awesome 6 Free"; font-weight: 900; }
.fab, .fa-brands { font-family: "Font Awesome 6 Brands"; font-weight: 400; }
"""


def choose_mathjax(app, config):
    """Let the pages load MathJax in parts, from their own folder."""
    config.mathjax_path = "mathjax/startup.js"
    config.mathjax3_config = (config.mathjax3_config or {}) | {"loader": {"load": MATHJAX_PARTS}}


def lighten(app, exception):
    """Cut what Sphinx wrote into _static."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    copy_mathjax(static / "mathjax")
    pages = [p.read_text("utf-8") for p in Path(app.outdir).rglob("*.html")]
    scripts = [p.read_text("utf-8") for p in static.glob("**/*.js") if "mathjax" not in p.parts]
    write_icons(static, pages + scripts)
    used = class_names(pages, scripts)
    for sheet in static.rglob("*.css"):
        sheet.write_text(purge(sheet.read_text("utf-8"), used), "utf-8")
    for leftover in [*static.rglob("*.map"), *static.rglob("*-macros.html")]:
        leftover.unlink()
    shutil.rmtree(static / "locales", ignore_errors=True)


def copy_mathjax(folder):
    """The parts of MathJax that the pages can ask for."""
    for name in [*(f"{part}.js" for part in MATHJAX_PARTS), *MATHJAX_MORE]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (MATHJAX / name).is_dir():
            shutil.copytree(MATHJAX / name, folder / name, dirs_exist_ok=True)
        else:
            shutil.copyfile(MATHJAX / name, folder / name)


def write_icons(static, texts):
    """icons.css and its fonts, with the icons in use; the theme's own go."""
    vendor = static / "vendor"
    if not vendor.exists():  # nothing was built anew
        return
    (folder,) = (vendor / "fontawesome").iterdir()
    codes = {}
    for selectors, code in CODE_POINT.findall((folder / "css/all.min.css").read_text("utf-8")):
        codes |= dict.fromkeys(ICON.findall(selectors), int(code, 16))
    sheets = [p.read_text("utf-8") for p in static.rglob("*.css") if vendor not in p.parents]
    used = icons_in_use(texts, sheets, codes)
    rules = [ICONS_CSS]
    for name, (family, file, weight) in FONTS.items():
        cut_font(folder / "webfonts" / file, used, static / f"icons-{name}.woff")
        rules.append(FACE_CSS.format(name=name, family=family, weight=weight))
    rules.append(USE_CSS)
    for name, code in codes.items():
        if code in used:
            rules.append(f'.{name}::before {{ content: "\\{code:x}"; }}\n')
    (static / "icons.css").write_text("".join(rules), "utf-8")
    shutil.rmtree(vendor)


def icons_in_use(texts, sheets, codes):
    """The code points of the icons that texts name, and that style sheets put before titles."""
    used = {codes[name] for text in texts for name in ICON.findall(text) if name in codes}
    for sheet in sheets:
        for found in PRIVATE.findall(sheet):  # the character itself, or its number
            used.add(ord(found) if len(found) == 1 else int(found, 16))
    return used


def cut_font(source, characters, target):
    """Write the part of a font that has these characters."""
    font = TTFont(source)
    options = subset.Options(flavor="woff", notdef_outline=True)
    cut = subset.Subsetter(options)
    cut.populate(unicodes=characters & set(font.getBestCmap()))
    cut.subset(font)
    subset.save_font(font, target, options)


def class_names(pages, scripts):
    """Every class that an element of the pages has, or that a script could give it."""
    used = set()
    for text in pages:
        for names in re.findall(r"""\bclass=["']([^"']*)["']""", text):
            used.update(names.split())
    for text in scripts:
        used.update(re.findall(r"[A-Za-z_][\w-]*", text))
    return used


CONDITIONAL = ("@media", "@supports", "@container", "@layer")
CLASS = re.compile(r"\.((?:[\w-]|\\.)+)")


def purge(css, used):
    """A style sheet without the rules whose selectors name a class that is not in `used`."""
    kept = []
    for prelude, block in rules(re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)):
        if block is None or (prelude.startswith("@") and not prelude.startswith(CONDITIONAL)):
            kept.append(prelude + (";" if block is None else f"{{{block}}}"))
        elif prelude.startswith("@"):
            inside = purge(block, used)
            kept += [f"{prelude}{{{inside}}}"] if inside else []
        else:
            selectors = [s for s in pieces(prelude, ",") if classes(s) <= used]
            kept += [f"{','.join(selectors)}{{{block}}}"] if selectors else []
    return "\n".join(kept)


def classes(selector):
    """The classes that an element must have to match; those in :not() or :is() need not."""
    while "(" in selector:
        selector, before = re.sub(r"\([^()]*\)", "", selector), selector
        if selector == before:
            break
    return {name.replace("\\", "") for name in CLASS.findall(selector)}


def rules(css):
    """(prelude, block) of the rules of a style sheet; the block of a statement is None."""
    for piece in pieces(css, ";", after_block=True):
        prelude, brace, block = piece.partition("{")
        yield prelude.strip(), block[: block.rindex("}")].strip() if brace else None


def pieces(text, separator, after_block=False):
    """The stretches of a text between separators, or after a block: not inside quotes or brackets.

    Those that hold nothing are left out.
    """
    start, depth, quote = 0, 0, ""
    found = []
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote and text[i - 1] != "\\" else quote
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if after_block and depth == 0 and char == "}":
                found.append(text[start : i + 1])
                start = i + 1
        elif char == separator and depth == 0:
            found.append(text[start:i])
            start = i + 1
    return [piece.strip() for piece in [*found, text[start:]] if piece.strip()]


def setup(app):
    """Join Sphinx."""
    app.connect("config-inited", choose_mathjax)
    # After all others: their files are cut, too.
    app.connect("build-finished", lighten, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
