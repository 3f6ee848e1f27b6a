"""The directives {model-overview}: all local networks in one table; and {model-cards},
{variant-cards} and {physics-cards}: models of a data set, as a table, and a folded card for each.
{model-cards} shows local networks, {variant-cards} those of other fields, {physics-cards} those
that are given y.

    ```{model-cards} photos-grey
    ```

Everything is read from the cards beside the weights, so the page cannot say anything else.
"""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from lemmse import zoo
from lemmse.experiments import record, variants
from lemmse.experiments.comparison import SIGMAS


def psnr(card, kind, split, sigmas=SIGMAS):
    """The cells of one row: a number for each noise level, a dash where nothing was measured."""
    means = card.get("psnr", {}).get(split, {})
    values = [means[str(sigma)][kind] if str(sigma) in means else None for sigma in sigmas]
    return ["-" if value is None else f"{value:.1f}" for value in values]


def row(*cells):
    """One line of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def worst(card):
    """The least PSNR(network, LE-MMSE) on test images from sigma = 0.1 on, or a dash."""
    values = psnr(card, "network_formula", "test", [sigma for sigma in SIGMAS if sigma >= 0.1])
    return "-" if "-" in values else min(values, key=float)


def by_problem(cards):
    """One line a problem, one column an architecture."""
    lines = [
        row("data set", "task", "B", "P", "N", *zoo.ARCHITECTURES),
        row("---", "---", "---", "--:", "--:", *["--:"] * len(zoo.ARCHITECTURES)),
    ]
    problems = {}
    for card in cards:
        spec = zoo.Spec.parse(card["name"])
        problems.setdefault(spec.problem, {})[spec.architecture] = worst(card)
    for problem, found in sorted(problems.items()):
        spec = zoo.Spec(*problem)
        page = f"[{spec.dataset}](models/{spec.dataset}.md)"
        cells = [found.get(name, "-") for name in zoo.ARCHITECTURES]
        physics = spec.physics if spec.has_physics else ""
        lines.append(row(page, spec.task, physics, spec.patch_size, f"{spec.images:,}", *cells))
    return lines


def overview(cards):
    """All local models: their distance to LE-MMSE on test images."""
    lines = [
        row("model", *(f"$\\sigma$ = {s}" for s in SIGMAS)),
        row("---", *["--:"] * len(SIGMAS)),
    ]
    return lines + [row(short(card), *psnr(card, "network_formula", "test")) for card in cards]


def physics_overview(cards):
    """All models that are given y: parameters, and their distance to the truth at their sigma."""
    lines = [
        row("model", "parameters", "$\\sigma$", "training images", "test images"),
        row("---", *["--:"] * 4),
    ]
    for card in cards:
        level = card["settings"]["sigma"]
        cells = [psnr(card, "network_truth", split, [level])[0] for split in ("train", "test")]
        lines.append(row(short(card), f"{card['parameters']:,}", level, *cells))
    return lines


def short(card):
    """The name without the data set."""
    return f"`{card['name'].split('/', 1)[1]}`"


def making(card):
    """How a model was made."""
    settings, machine, data = card["settings"], card["machine"], card["data"]
    crops = "whole images" if settings["crop"] is None else f"crops of {settings['crop']} pixels"
    seen = "" if card["preinverse"] == "none" else f"; pre-inverse: {card['preinverse']}"
    return [
        f"- {card['architecture']['name']} with {card['parameters']:,} parameters, "
        f"{card['bytes'] / 1000:.0f} kB; arguments {card['architecture']['arguments']}",
        f"- trained on {data['images']:,} images of {data['title']} "
        f"(sha256 of the tensor `{data['checksum'][:16]}`…){seen}",
        f"- {settings['steps']:,} steps of {settings['batch']} images, {crops}, "
        f"learning rate {settings['learning_rate']}, seed "
        f"{settings['seed']}, {settings['precision']}; {card['seconds']} s on "
        f"{machine['threads']} thread(s), {machine['device']}, torch {machine['torch']}, "
        f"lemmse {machine['lemmse']}",
        f"- storing it cost at most {max(card['precision_cost'], 0):.4f} dB",
    ]


def compared(card):
    """On how many images the numbers rest, if there are any."""
    if "psnr_images" not in card:
        return ["- not compared with LE-MMSE yet: `reproduce comparison --publish`"]
    return [f"- PSNR: means over {card['psnr_images']} training and as many test images"]


def results(card):
    """The table of a local model: three kinds of PSNR at all noise levels."""
    kinds = {
        "network_formula": "network against LE-MMSE",
        "network_truth": "network against the truth",
        "formula_truth": "LE-MMSE against the truth",
    }
    lines = [
        "",
        row("PSNR (dB)", *(f"$\\sigma$ = {s}" for s in SIGMAS)),
        row("---", *["--:"] * len(SIGMAS)),
    ]
    for split in ("train", "test"):
        for kind, words in kinds.items():
            lines.append(row(f"{split}: {words}", *psnr(card, kind, split)))
    return lines


def variant_overview(cards, results, sigma="0.2"):
    """All models of other fields: border and interior, against their own formula and the plain one.

    Args:
        cards: of the models.
        results: of the experiment `variants`.
        sigma: the noise level shown.
    """
    lines = [
        row("model", "own, border", "plain, border", "own, interior", "plain, interior"),
        row("---", *["--:"] * 4),
    ]
    for card in cards:
        cell = results.get(card["name"], {}).get("mse", {}).get("test", {}).get(sigma)
        values = ["-"] * 4
        if cell is not None:
            kinds = ("network_own", "network_plain")
            pairs = [(part, kind) for part in variants.PARTS for kind in kinds]
            values = [f"{variants.level(cell[part][kind]):.1f}" for part, kind in pairs]
        lines.append(row(short(card), *values))
    return lines


def folded(card, table):
    """One card."""
    return [
        f":::{{dropdown}} {card['name']}",
        *making(card),
        *table(card),
        ":::",
        "",
    ]


def parsed(directive, lines):
    """The nodes of Markdown lines."""
    container = nodes.container()
    directive.state.nested_parse(StringList(lines, source="model cards"), 0, container)
    return container.children


class ModelOverview(SphinxDirective):
    """See the top of this file."""

    def run(self):
        """The nodes of the table."""
        return parsed(self, by_problem([zoo.card(name) for name in zoo.names(kind=zoo.Spec)]))


class ModelCards(SphinxDirective):
    """See the top of this file."""

    required_arguments = 1
    kind = zoo.Spec

    def tables(self, cards):
        """The table of all, and what makes the table of one."""
        return overview(cards), lambda card: compared(card) + results(card)

    def run(self):
        """The nodes of the table and of the cards."""
        names = zoo.names(kind=self.kind)
        cards = [zoo.card(name) for name in names if name.startswith(self.arguments[0] + "/")]
        lines = ["None yet."]
        if cards:
            table, table_of_one = self.tables(cards)
            lines = [*table, ""]
            for card in cards:
                lines += folded(card, table_of_one)
        return parsed(self, lines)


class PhysicsCards(ModelCards):
    """See the top of this file."""

    kind = zoo.PhysicsSpec

    def tables(self, cards):
        """The table of all; one model has no table of its own."""
        return physics_overview(cards), compared


class VariantCards(ModelCards):
    """See the top of this file."""

    kind = zoo.VariantSpec

    def tables(self, cards):
        """The table of all; one model has no table of its own."""
        there = record.shipped(variants.NAME).exists()
        return variant_overview(cards, variants.results() if there else {}), lambda card: []


def setup(app):
    """Registers the directive."""
    app.add_directive("model-overview", ModelOverview)
    app.add_directive("model-cards", ModelCards)
    app.add_directive("variant-cards", VariantCards)
    app.add_directive("physics-cards", PhysicsCards)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
