"""Registering exercises and checking a reader's function against them.

An exercise is a generator of random inputs, a reference, and named properties with hints. The
reader's function is run on several hidden inputs; whatever it does, the answer is in words.
"""

import copy
import inspect
import linecache
import re
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lemmse.exercises.describe import (
    describe,
    describe_arguments,
    difference,
    in_form_of,
    wrong_kind,
)
from lemmse.exercises.limit import OutOfTimeError, time_limit
from lemmse.exercises.result import Result

AGREES = "agrees with the reference"
RUNS = "runs on every input"
KIND = "returns a value of the right kind"
PURE = "leaves its inputs as they are"
FINISHES = "answers in time"
_BUILT_IN = (AGREES, RUNS, KIND, PURE, FINISHES)

_IRREGULAR = {"cannot": "not", "is": "be", "has": "have", "does": "do", "satisfies": "satisfy"}
_MORE = "If it fails once more, there is another hint."

CALL_SECONDS = 30
"""How much processor time a reader's function may take for one input."""


@dataclass(frozen=True)
class Property:
    """Something that the right answer satisfies, tested before the comparison with the reference.

    Attributes:
        name: completes "Your function ...": "returns weights that sum to 1".
        test: Case -> bool.
        hint: what to look at when it fails.
    """

    name: str
    test: Callable[["Case"], bool]
    hint: str


@dataclass(frozen=True)
class Exercise:
    """See ``exercise`` for the fields."""

    number: str
    title: str
    inputs: Callable[[torch.Generator], dict]
    reference: Callable
    hint: str
    properties: tuple[Property, ...]
    wrong: tuple[tuple[Callable, str], ...]
    tolerance: float
    trials: int

    def hint_of(self, name: str) -> str:
        """The hint that belongs to a property's name; empty for the built-in ones but AGREES."""
        hints = {AGREES: self.hint} | {p.name: p.hint for p in self.properties}
        return hints.get(name, "")

    def drawn(self, trial: int, secret: str = "") -> dict:
        """The inputs of a trial."""
        text = "/".join([secret] * bool(secret) + [self.number, str(trial)])
        return self.inputs(torch.Generator().manual_seed(zlib.crc32(text.encode())))

    def check(self, function, secret: str = "", stage: int = 3) -> Result:
        """The answer to a reader's function; stage 1 has no hint, stage 3 all there are."""
        secrets = dict.fromkeys(["", secret])
        try:
            for drawn_with in secrets:
                for trial in range(self.trials):
                    self._try(function, self.drawn(trial, drawn_with))
        except _UnwrittenError as reason:
            details = (f"{reason} Fill it in and run this cell again.",)
            return Result(self.number, "unwritten", f"not written yet ({self.title}).", details)
        except _PropertyError as failure:
            return self._wrong(failure, stage)
        count = self.trials * len(secrets)
        return Result(self.number, "right", f"right ({self.title}), on {count} random inputs.")

    def _try(self, function, inputs: dict) -> None:
        """Run one trial; raises _UnwrittenError or _PropertyError."""
        expected = self.reference(*copy.deepcopy(list(inputs.values())))
        case = Case(function, inputs, expected)
        try:
            self._judge(case, expected)
        except (_UnwrittenError, _PropertyError):
            raise
        except Exception:  # the result is an object that refuses every question
            text = f"It returned a {type(case.result).__name__} that cannot be compared."
            raise _PropertyError(KIND, text, inputs) from None

    def _judge(self, case: "Case", expected) -> None:
        """Compare one result; raises _UnwrittenError or _PropertyError."""
        inputs = case.inputs
        wrong = wrong_kind(case.result, expected)
        if wrong:
            raise _PropertyError(KIND, f"Here {wrong}.", inputs)
        for item in self.properties:
            if not _holds(item, case):
                raise _PropertyError(item.name, f"It returned {describe(case.result)}.", inputs)
        found = difference(case.result, expected, self.tolerance)
        if found:
            raise _PropertyError(AGREES, f"Here {found}.", inputs)

    def _wrong(self, failure: "_PropertyError", stage: int) -> Result:
        details = [f"Your function should {should(failure.name)}.", failure.text]
        if failure.inputs:
            details.append(f"The input was:\n{describe_arguments(failure.inputs)}")
        hints = list(dict.fromkeys(filter(None, [self.hint_of(failure.name), self.hint])))
        details += [f"Hint: {hint}" for hint in hints[: stage - 1]]
        if stage <= len(hints):
            details.append("If it fails again, there is a hint." if stage == 1 else _MORE)
        heading = f"not right yet ({self.title})."
        return Result(self.number, "wrong", heading, tuple(details), failure.name, failure.inputs)


def should(name: str) -> str:
    """A property's name, which completes "Your function ...", after "should".

    Example:
        >>> [should(name) for name in ("returns 1", "does not move", "never passes", "is even")]
        ['return 1', 'not move', 'never pass', 'be even']
    """
    verb, _, rest = name.partition(" ")
    if verb == "does" and rest.startswith("not "):
        return rest
    if verb == "never":
        return f"never {should(rest)}"
    if verb in _IRREGULAR:
        verb = _IRREGULAR[verb]
    else:
        verb = verb[:-2] if verb.endswith(("sses", "shes", "ches", "xes", "oes")) else verb[:-1]
    return f"{verb} {rest}".rstrip()


class Case:
    """One trial, as a property sees it: ``case.result``, ``case["y"]``, ``case.call(...)``.

    Results of the right kind have the form of the expected one: tensors where that has tensors.
    """

    def __init__(self, function, inputs: dict, expected):
        """Run the function on the inputs; the right answer tells the form of a result."""
        self._function, self.inputs, self._expected = function, inputs, expected
        self.result = self._guarded(inputs)

    def __getitem__(self, name: str):
        """The input of that name."""
        return self.inputs[name]

    def call(self, **changed):
        """The function's result with some of the inputs replaced."""
        unknown = set(changed) - set(self.inputs)
        if unknown:
            raise KeyError(f"expected names among {list(self.inputs)}, got {sorted(unknown)}")
        return self._guarded(self.inputs | changed)

    def _guarded(self, inputs: dict):
        """The function's result, or what is wrong with calling it, in words."""
        arguments = copy.deepcopy(list(inputs.values()))
        _require_arity(self._function, inputs)
        try:
            with time_limit(CALL_SECONDS):
                result = self._function(*arguments)
        except OutOfTimeError:
            text = f"It was still running after {CALL_SECONDS} s: does a loop never end?"
            raise _PropertyError(FINISHES, text, inputs) from None
        except (Exception, SystemExit) as error:
            reason = _unwritten(error)
            if reason:
                raise _UnwrittenError(reason) from None
            raise _PropertyError(RUNS, _explain(self._function, error), inputs) from None
        if result is None:
            reason = "Your function returns nothing (None); a finished one ends with `return`."
            raise _UnwrittenError(reason)
        parts = result if isinstance(result, tuple | list) else [result]
        if any(part is Ellipsis for part in parts):
            raise _UnwrittenError("Your function returns the placeholder `...`.")
        for (name, before), after in zip(inputs.items(), arguments, strict=True):
            if _is_array(before) and difference(after, before, 0.0):
                raise _PropertyError(
                    PURE, f"It changed its argument {name}; work on a copy.", inputs
                )
        return in_form_of(result, self._expected)


class _UnwrittenError(Exception):
    """The reader has not written the function yet."""


class _PropertyError(Exception):
    """A property fails on an input."""

    def __init__(self, name: str, text: str, inputs: dict):
        self.name, self.text, self.inputs = name, text, inputs


EXERCISES: dict[str, Exercise] = {}
"""Number -> exercise, of all chapters."""

_failures: Counter[str] = Counter()  # how often an exercise was answered wrongly in a row


def exercise(
    number: str,
    title: str,
    *,
    reference: Callable,
    hint: str,
    wrong: list[tuple[Callable, str]],
    properties: tuple[Property, ...] | list[Property] = (),
    tolerance: float = 1e-5,
    trials: int = 5,
):
    """Register an exercise; decorates the generator of its inputs.

    Args:
        number: "chapter.number", "4.1".
        title: what is to be written, "softmax weights of the MMSE estimator".
        reference: the right answer, written independently of what the chapter shows.
        hint: shown when a result differs from the reference's.
        wrong: pairs (wrong function, name of the property it must fail): answers that readers
            may give. The tests run them. ``AGREES`` names the comparison with the reference.
        properties: tested in this order, before the comparison.
        tolerance: allowed error, relative to max(1, largest absolute expected value).
        trials: number of random inputs.

    The decorated function takes a ``torch.Generator`` and returns a dictionary name -> argument, in
    the order in which the reader's function takes them.

    Raises:
        ValueError: a number that is malformed or taken, no wrong answer, or one that names no
            property.

    Example:
        >>> @exercise(
        ...     "99.1",
        ...     "the sum of squares",
        ...     reference=lambda x: (x**2).sum(),
        ...     hint="square before you sum",
        ...     wrong=[(lambda x: x.sum() ** 2, AGREES)],
        ... )
        ... def _(generator):
        ...     return {"x": torch.rand(3, generator=generator)}
        >>> del EXERCISES["99.1"]
    """
    names = (*_BUILT_IN, *(item.name for item in properties))
    if not isinstance(number, str) or not re.fullmatch(r"\d+\.\d+", number):
        raise ValueError(f"expected a number such as '4.1', got {number!r}")
    if number in EXERCISES:
        raise ValueError(f"expected a new number, got {number!r} a second time")
    if not wrong:
        raise ValueError(f"exercise {number}: expected at least one wrong answer to test with")
    for _, name in wrong:
        if name not in names:
            raise ValueError(f"exercise {number}: expected one of {names}, got {name!r}")

    def register(inputs: Callable) -> Callable:
        EXERCISES[number] = Exercise(
            number,
            title,
            inputs,
            reference,
            hint,
            tuple(properties),
            tuple(wrong),
            tolerance,
            trials,
        )
        return inputs

    return register


def check(number: str, function, *, secret: str = "", stage: int | None = None) -> Result:
    """Check a reader's function on hidden random inputs, and answer in words.

    The first wrong answer is told which property fails, and on which input; the second one gets a
    hint at the property, the third one the idea of the exercise. A right answer starts anew.

    Args:
        number: the exercise, as a text: "4.1".
        function: the function itself, without parentheses.
        secret: a text from which as many more inputs are drawn, which readers do not see; for
            marking.
        stage: 1 without a hint, 2 with the first one, 3 with all; by default as above.

    Returns:
        Result: true when right; shown by a notebook as the last expression of a cell.

    Raises:
        ValueError: an unknown number.

    Example:
        ``exercises.check("4.1", my_weights)``
    """
    if not isinstance(number, str) or number not in EXERCISES:
        known = ", ".join(sorted(EXERCISES, key=_order)) or "none so far"
        raise ValueError(f"expected the number of an exercise ({known}), got {number!r}")
    if not callable(function):
        details = (
            f"`check` expects the function itself, `check({number!r}, my_function)` without "
            f"parentheses; it got {describe(function)}.",
        )
        return Result(number, "wrong", "not a function.", details, RUNS)
    result = EXERCISES[number].check(function, secret, stage or 1 + min(2, _failures[number]))
    if result.status == "wrong":
        _failures[number] += 1
    elif result:
        del _failures[number]
    return result


def close(a, b, tolerance: float = 1e-5) -> bool:
    """Whether two numbers or tensors of one shape agree up to ``tolerance * max(1, max |b|)``."""
    return difference(a, b, tolerance) is None


def _holds(item: Property, case: Case) -> bool:
    """Whether a property holds; one that cannot even be computed on a result does not."""
    try:
        return bool(item.test(case))
    except (_UnwrittenError, _PropertyError):
        raise
    except Exception:
        return False


def _order(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.split("."))


def _require_arity(function, inputs: dict) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a built-in function without a signature
        return
    try:
        signature.bind(*inputs)
    except TypeError:
        text = f"It must take {len(inputs)} arguments, ({', '.join(inputs)}); it takes {signature}."
        raise _PropertyError(RUNS, text, {}) from None


def _unwritten(error: BaseException) -> str:
    """Why an error means that the function is unfinished; empty if it does not."""
    message = _message(error)
    # torch raises the same error where a function does not exist for complex numbers, say.
    if isinstance(error, NotImplementedError) and "not implemented for" not in message:
        return "Your function raises NotImplementedError."
    if isinstance(error, TypeError | AttributeError) and "ellipsis" in message:
        return "Your function still contains the placeholder `...`."
    return ""


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception of the reader's own making
        return ""


def _explain(function, error: BaseException) -> str:
    """What was raised, and in which line of the reader's function."""
    message = _message(error)
    text = f"It raised {type(error).__name__}{': ' * bool(message)}{message}"
    code, line = getattr(function, "__code__", None), None
    trace = error.__traceback__
    while trace is not None and code is not None:
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            line = linecache.getline(code.co_filename, trace.tb_lineno).strip()
        trace = trace.tb_next
    return f"{text}\nin the line: {line}" if line else text


def _is_array(value) -> bool:
    return torch.is_tensor(value) or isinstance(value, np.ndarray)
