"""The directive {model-cards}: the models of a data set, as a table, and a folded card for each.

    ```{model-cards} photos-grey
    ```

Everything is read from the cards beside the weights, so the page cannot say anything else.
"""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from lemmse import zoo
from lemmse.comparison import SIGMAS


def psnr(card, kind, split):
    """The cells of one row: a number for each noise level, a dash where nothing was measured."""
    means = card.get("psnr", {}).get(split, {})
    values = [means[str(sigma)][kind] if str(sigma) in means else None for sigma in SIGMAS]
    return ["-" if value is None else f"{value:.1f}" for value in values]


def row(*cells):
    """One line of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def overview(cards):
    """All models: their distance to LE-MMSE on test images."""
    lines = [
        row("model", *(f"$\\sigma$ = {s}" for s in SIGMAS)),
        row("---", *["--:"] * len(SIGMAS)),
    ]
    short = [card["name"].split("/", 1)[1] for card in cards]
    rows = [psnr(card, "network_formula", "test") for card in cards]
    return lines + [row(f"`{name}`", *cells) for name, cells in zip(short, rows, strict=True)]


def compared(card):
    """On how many images the numbers rest, if there are any."""
    if "psnr_images" not in card:
        return ["- not compared with LE-MMSE yet: `python -m lemmse evaluate`"]
    return [f"- below: means over {card['psnr_images']} training and as many test images"]


def folded(card):
    """One card."""
    settings, machine, data = card["settings"], card["machine"], card["data"]
    kinds = {
        "network_formula": "network against LE-MMSE",
        "network_truth": "network against the truth",
        "formula_truth": "LE-MMSE against the truth",
    }
    lines = [
        f":::{{dropdown}} {card['name']}",
        f"- {card['architecture']['name']} with {card['parameters']:,} parameters, "
        f"{card['bytes'] / 1000:.0f} kB; arguments {card['architecture']['arguments']}",
        f"- trained on {data['images']:,} images of {data['title']} "
        f"(sha256 of the tensor `{data['checksum'][:16]}`…); pre-inverse: {card['preinverse']}",
        f"- {settings['steps']:,} steps of {settings['batch']} images, crops of "
        f"{settings['crop']} pixels, learning rate {settings['learning_rate']}, seed "
        f"{settings['seed']}, {settings['precision']}; {card['seconds']} s on "
        f"{machine['threads']} thread(s), {machine['device']}, torch {machine['torch']}, "
        f"lemmse {machine['lemmse']}",
        f"- storing 16 bits cost at most {max(card['precision_cost'], 0):.4f} dB of the PSNR "
        "against LE-MMSE",
        *compared(card),
        "",
        row("PSNR (dB)", *(f"$\\sigma$ = {s}" for s in SIGMAS)),
        row("---", *["--:"] * len(SIGMAS)),
    ]
    for split in ("train", "test"):
        for kind, words in kinds.items():
            lines.append(row(f"{split}: {words}", *psnr(card, kind, split)))
    return [*lines, ":::", ""]


class ModelCards(SphinxDirective):
    """See the top of this file."""

    required_arguments = 1

    def run(self):
        """The nodes of the table and of the cards."""
        cards = [zoo.card(name) for name in zoo.names() if name.startswith(self.arguments[0] + "/")]
        lines = overview(cards) + [""] if cards else ["None yet."]
        for card in cards:
            lines += folded(card)
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source="model cards"), 0, container)
        return container.children


def setup(app):
    """Registers the directive."""
    app.add_directive("model-cards", ModelCards)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
