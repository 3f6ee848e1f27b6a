"""Exercises of the book: ``exercises.check("4.1", my_function)`` answers in words.

The exercises of a chapter live in ``lemmse/exercises/chapterNN.py``; every such module is found
and imported here.
"""

import importlib
import pkgutil

from lemmse.exercises.registry import EXERCISES, Case, Exercise, Property, check, close, exercise
from lemmse.exercises.result import Result

for _module in pkgutil.iter_modules(__path__):
    if _module.name.startswith("chapter"):
        importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["EXERCISES", "Case", "Exercise", "Property", "Result", "check", "close", "exercise"]
