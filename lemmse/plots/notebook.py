"""What depends on where a notebook runs: in the reader's kernel or in the book's build."""

import os
import re

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def building() -> bool:
    """Whether the book is being built: the environment variable ``LEMMSE_BUILD`` is 1."""
    return os.environ.get("LEMMSE_BUILD") == "1"


class _Glued(str):
    """A text that shows nothing when it is the last expression of a cell."""

    def _ipython_display_(self) -> None:
        """Show nothing: the number belongs to the prose."""


def typeset(text: str) -> str:
    """Numbers as one prints them: 2e-03 is 2 × 10⁻³, and a minus sign is no hyphen.

    Example:
        >>> typeset("-0.41 dB")
        '\N{MINUS SIGN}0.41 dB'
    """

    def power(found: re.Match) -> str:
        exponent = str(int(found[2])).translate(_RAISED)
        return f"{found[1]} \N{MULTIPLICATION SIGN} 10{exponent}"

    text = re.sub(r"([\d.]+)e([+-]\d+)", power, text)
    return re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", text)


def glue(name: str, value, format: str = "{:.2f}") -> str:
    """Make a computed number available to the prose as ``{glue:text}`name```.

    Where myst_nb is missing, and in the reader's own kernel, the line "name: text" is printed; in
    the book's build nothing is.

    Args:
        name: the name to be used in the prose.
        value: a number, a tensor with one element, or a text. All are typeset, see `typeset`.
        format: a format string with one field, for numbers.

    Returns:
        The text.

    Raises:
        ValueError: an empty name, a tensor with several elements, or a format that does not fit.

    Example:
        >>> glue("psnr-test", 24.567, "{:.1f} dB")
        psnr-test: 24.6 dB
        '24.6 dB'
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"expected a name (a non-empty string), got {name!r}")
    text = _Glued(typeset(_text(value, format)))
    glued = _glue_into_page(name, str(text))
    if not (glued and building()):
        print(f"{name}: {text}")
    return text


def _text(value, format: str) -> str:
    if isinstance(value, str):
        return value
    if hasattr(value, "item"):
        count = value.numel() if hasattr(value, "numel") else value.size
        if count != 1:
            raise ValueError(f"expected one number to glue, got {count} of them")
        value = value.item()
    try:
        return format.format(value)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise ValueError(f"the format {format!r} does not fit {value!r}: {error}") from error


def _glue_into_page(name: str, text: str) -> bool:
    from IPython import get_ipython

    if get_ipython() is None:
        return False
    try:
        from myst_nb import glue as myst_glue
    except ImportError:
        return False
    myst_glue(name, text, display=False)
    return True
