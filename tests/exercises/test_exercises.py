"""Tests of lemmse.exercises: the answers of ``check``, and every registered exercise."""

import copy
import dataclasses
import importlib
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from lemmse import exercises
from lemmse.exercises import registry
from lemmse.exercises.describe import describe, difference, wrong_kind
from lemmse.exercises.registry import (
    AGREES,
    EXERCISES,
    FINISHES,
    KIND,
    PURE,
    RUNS,
    Property,
    check,
    close,
    exercise,
    should,
)


def weights(y, images, sigma):
    return torch.softmax(-((images - y) ** 2).flatten(1).sum(1) / (2 * sigma**2), 0)


def unnormalised(y, images, sigma):
    return torch.exp(-((images - y) ** 2).flatten(1).sum(1) / (2 * sigma**2))


def without_two(y, images, sigma):
    return torch.softmax(-((images - y) ** 2).flatten(1).sum(1) / sigma**2, 0)


def without_y(y, images, sigma):
    return torch.softmax(-(images**2).flatten(1).sum(1) / (2 * sigma**2), 0)


SUMS = "returns weights that sum to 1"
SHIFTS = "gives the same weights when y and the images are shifted alike"


def register(number="99.1", **changed):
    arguments = {
        "reference": weights,
        "hint": "mind the factor 2",
        "properties": [
            Property(SUMS, lambda case: close(case.result.sum(), 1.0), "divide by the sum"),
            Property(
                SHIFTS,
                lambda case: close(
                    case.call(y=case["y"] + 1, images=case["images"] + 1), case.result
                ),
                "only differences may enter",
            ),
        ],
        "wrong": [(unnormalised, SUMS), (without_two, AGREES), (without_y, SHIFTS)],
    } | changed

    @exercise(number, "softmax weights", **arguments)
    def inputs(generator):
        images = torch.rand(3, 1, 2, 2, generator=generator)
        noise = 0.1 * torch.randn(1, 2, 2, generator=generator)
        return {"y": images[0] + noise, "images": images, "sigma": 0.3}

    return EXERCISES[number]


@pytest.fixture(autouse=True)
def registered():
    registry._failures.clear()
    yield register()
    for number in [number for number in EXERCISES if number.startswith("99.")]:
        del EXERCISES[number]


# The answers


def test_right(registered):
    result = check("99.1", weights)
    assert result
    assert result.status == "right"
    assert str(result) == "✓ Exercise 99.1: right (softmax weights), on 5 random inputs."


@pytest.mark.parametrize(
    ("function", "failed", "hint"),
    [
        (unnormalised, SUMS, "divide by the sum"),
        (without_two, AGREES, "mind the factor 2"),
        (without_y, SHIFTS, "only differences may enter"),
    ],
)
def test_wrong_names_the_property_the_input_and_a_hint(function, failed, hint):
    result = EXERCISES["99.1"].check(function)
    assert not result
    assert (result.status, result.failed) == ("wrong", failed)
    text = str(result)
    assert text.startswith("✗")
    assert f"Your function should {should(failed)}." in text
    assert f"Hint: {hint}" in text
    assert "sigma = 0.3" in text
    assert "y = [[[" in text
    assert list(result.inputs) == ["y", "images", "sigma"]


def test_hints_come_in_three_stages_and_start_anew_after_a_right_answer():
    texts = [str(check("99.1", unnormalised)) for _ in range(4)]
    assert "Hint:" not in texts[0]
    assert "If it fails again, there is a hint." in texts[0]
    assert "Hint: divide by the sum" in texts[1]
    assert "mind the factor 2" not in texts[1]
    assert "there is another hint" in texts[1]
    assert texts[2].count("Hint: ") == 2
    assert "If it fails" not in texts[2]
    assert texts[3] == texts[2]
    assert check("99.1", weights)
    assert str(check("99.1", unnormalised)) == texts[0]


def test_an_unwritten_function_uses_up_no_hint():
    check("99.1", _none)
    assert "Hint:" not in str(check("99.1", unnormalised))


def test_where_there_is_no_hint_of_its_own_the_idea_comes_second():
    check("99.1", without_two)
    assert "Hint: mind the factor 2" in str(check("99.1", without_two))


def test_the_largest_difference_is_told():
    text = str(check("99.1", without_two))
    assert "the largest difference is at index (" in text
    assert "; expected 0." in text


def _none(y, images, sigma):
    """Only a docstring."""


def _ellipsis(y, images, sigma):
    return ...


def _ellipsis_inside(y, images, sigma):
    distances = ...
    return torch.exp(distances)


def _ellipsis_attribute(y, images, sigma):
    distances = ...
    return distances.sum()


def _ellipsis_in_tuple(y, images, sigma):
    return y, ...


def _not_implemented(y, images, sigma):
    raise NotImplementedError("to do")


@pytest.mark.parametrize(
    "function",
    [_none, _ellipsis, _ellipsis_inside, _ellipsis_attribute, _ellipsis_in_tuple, _not_implemented],
)
def test_unwritten(function):
    result = check("99.1", function)
    assert not result
    assert result.status == "unwritten"
    assert "not written yet" in str(result)
    assert str(result).startswith("…")


def test_exceptions_are_explained_with_the_line():
    def function(y, images, sigma):
        return images @ torch.zeros(7, 7)

    result = check("99.1", function)
    assert result.failed == RUNS
    assert "It raised RuntimeError" in str(result)
    assert "in the line: return images @ torch.zeros(7, 7)" in str(result)
    assert "Traceback" not in str(result)


def test_what_torch_cannot_do_is_no_unfinished_function():
    result = check("99.1", lambda y, images, sigma: images * 1j > y)
    assert result.failed == RUNS
    assert "not implemented for 'Complex" in str(result)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "it returned a str; expected a tensor of shape (3,)"),
        ([0.5, 0.5, 0.0], "it returned a list; expected a tensor"),
        (0.5, "it returned a single number; expected a tensor of shape (3,)"),
        (torch.ones(3, 1), "a tensor of shape (3, 1); expected a tensor of shape (3,)"),
        (torch.full((3,), torch.nan), "NaN or infinity in 3 of 3 places"),
        (torch.ones(3) * 1j, "complex"),
        (np.array(["a", "b", "c"]), "it returned a ndarray"),
    ],
)
def test_wrong_kinds_are_explained(value, message):
    result = check("99.1", lambda y, images, sigma: value)
    assert result.failed == KIND
    assert message in str(result)


def test_numpy_answers_count():
    assert check("99.1", lambda *inputs: weights(*inputs).numpy())


def test_wrong_number_of_arguments():
    result = check("99.1", lambda y: y)
    assert result.failed == RUNS
    assert "It must take 3 arguments, (y, images, sigma); it takes (y)." in str(result)


def test_changing_the_inputs_is_told():
    def function(y, images, sigma):
        images -= y
        return torch.softmax(-(images**2).flatten(1).sum(1) / (2 * sigma**2), 0)

    result = check("99.1", function)
    assert result.failed == PURE
    assert "changed its argument images" in str(result)


def test_a_property_that_cannot_be_computed_fails():
    hint = "the hint"
    impossible = Property("is impossible", lambda case: case.result.nothing, hint)
    register("99.2", properties=[impossible], wrong=[(weights, "is impossible")])
    result = EXERCISES["99.2"].check(weights)
    assert result.failed == "is impossible"
    assert hint in str(result)


def test_the_call_instead_of_the_function():
    result = check("99.1", torch.ones(2))
    assert not result
    assert "without parentheses; it got [1, 1]" in str(result)


@pytest.mark.parametrize("number", ["0.0", 99.1, None])
def test_unknown_numbers_list_the_known(number):
    with pytest.raises(ValueError, match=r"99\.1"):
        check(number, weights)


def test_answers_do_not_depend_on_the_global_seed():
    torch.manual_seed(0)
    one = EXERCISES["99.1"].check(without_two)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert str(EXERCISES["99.1"].check(without_two)) == str(one)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loop_that_never_ends_is_told(monkeypatch):
    monkeypatch.setattr(registry, "CALL_SECONDS", 0.05)

    def endless(y, images, sigma):
        while True:
            try:
                while True:
                    pass
            except Exception:
                pass

    result = check("99.1", endless)
    assert (result.status, result.failed) == ("wrong", FINISHES)
    assert "still running after 0.05 s" in str(result)
    assert result.inputs


def test_there_is_no_time_limit_outside_of_the_main_thread():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(check, "99.1", weights).result()


def test_a_secret_gives_more_inputs():
    plain = register("99.2", properties=[], wrong=[(without_two, AGREES)])
    seen = [plain.drawn(trial) for trial in range(5)]

    def learned(y, images, sigma):
        return next((weights(**item) for item in seen if torch.equal(item["y"], y)), images[0])

    assert check("99.2", learned)
    assert not check("99.2", learned, secret="apple")
    assert check("99.2", weights, secret="apple")


def test_html_is_escaped_and_has_a_sign():
    def function(y, images, sigma):
        raise RuntimeError("<script>")

    html = check("99.1", function)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "✗" in html


def test_backticks_become_code_in_html():
    unwritten = check("99.1", lambda y, images, sigma: ...)
    assert "`...`" in str(unwritten)
    html = unwritten._repr_html_()
    assert re.search(r"<code[^>]*>\.\.\.</code>", html)
    assert "`" not in html


# Registration


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"number": "7"}, "number such as"),
        ({"number": "99.1"}, "second time"),
        ({"number": "99.3", "wrong": []}, "wrong answer"),
        ({"number": "99.3", "wrong": [(weights, "flies")]}, "'flies'"),
    ],
)
def test_registration_rejects(changed, message):
    with pytest.raises(ValueError, match=message):
        register(**changed)


# Values in words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.tensor([1.0, 0.25]), "[1, 0.25]"),
        (torch.tensor(0.5), "0.5"),
        (torch.tensor([1, 2]), "[1, 2]"),
        ((1, torch.zeros(1)), "(1, [0])"),
        ({"a": 0.5}, "{a: 0.5}"),
        (torch.zeros(5, 5), "a tensor of shape (5, 5), float32, values from 0 to 0"),
        ("x" * 100, "'" + "x" * 76 + "..."),
        (list(range(20)), f"({', '.join(str(i) for i in range(16))}, ...)"),
        ([[[[[1]]]]], "((((...))))"),
        (torch.eye(2).to_sparse(), "[[1, 0], [0, 1]]"),
    ],
)
def test_describe(value, text):
    assert describe(value) == text


@pytest.mark.parametrize(
    ("result", "expected", "text"),
    [
        (1.0, 1.0 + 1e-9, None),
        (Fraction(1, 2), 0.5, None),
        (Decimal("0.5"), torch.tensor(0.5), None),
        (10**400, 1.0, "NaN or infinity in 1 of 1 places"),
        (2, 1.0, "it returned 2; expected 1"),
        (torch.tensor(True), True, None),
        ("a", "b", "it returned 'a'; expected 'b'"),
        (1, "b", "it returned a int; expected a str"),
        ((1, 2), (1, 3), "in the 2nd of its values, it returned 2; expected 3"),
        ((1,), (1, 3), "it returned 1 values; expected 2"),
        ({"a": 1}, {"b": 1}, "it returned the keys ['a']; expected ['b']"),
        ({"a": 1}, {"a": 2}, "at the key 'a', it returned 1; expected 2"),
        (torch.tensor([torch.inf]), torch.tensor([torch.inf]), None),
        (torch.tensor([1.0]), torch.tensor([torch.inf]), "index (0,)"),
        (torch.tensor([1e6 + 1]), torch.tensor([1e6]), None),
        (torch.tensor([1 + 1e-3]), torch.tensor([1.0]), "index (0,)"),
        (torch.tensor([1j]), torch.tensor([-1j]), "index (0,)"),
    ],
)
def test_difference(result, expected, text):
    found = difference(result, expected, 1e-5)
    assert found is None if text is None else text in found


# Whatever the function does


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Hostile:
    """Nothing can be done with it."""

    def _refuse(self, *_):
        raise RuntimeError("no")

    __repr__ = __eq__ = __bool__ = __len__ = __iter__ = __array__ = _refuse
    __hash__ = None


def _recursion(*_):
    return _recursion(*_)


def _raises(error):
    def function(*_):
        raise error

    return function


def _returns(value):
    return lambda *_: value


def _generator(*_):
    yield 1


def _prints_and_returns_text(*_):
    print("a trace")
    warnings.warn("a warning", stacklevel=1)
    return "text"


def _itself():
    value = []
    value.append(value)
    return value


RAISING = {
    "no text": ValueError(),
    "key": KeyError("y"),
    "division": ZeroDivisionError("division by zero"),
    "assertion": AssertionError(),
    "stop": StopIteration(),
    "memory": MemoryError(),
    "exit": SystemExit(1),
    "unprintable": Unprintable(),
    "shapes": RuntimeError("shapes cannot be multiplied"),
}
RETURNED = {
    "object": object(),
    "class": int,
    "module": np,
    "function": len,
    "text": "text",
    "bytes": b"text",
    "array of text": np.array(["a"]),
    "array of objects": np.array([None, {}], dtype=object),
    "structured array": np.zeros(2, dtype=[("a", float)]),
    "date": np.datetime64("2026-01-01"),
    "masked array": np.ma.masked_array([1.0, 2.0], [True, False]),
    "half": np.float16(0.5),
    "empty list": [],
    "empty tuple": (),
    "empty dictionary": {},
    "set": {1},
    "range": range(3),
    "nested": [[1.0, [2.0]], "a"],
    "itself": _itself(),
    "hostile": Hostile(),
    "list of hostile": [Hostile(), Hostile()],
    "nan": float("nan"),
    "infinity": float("inf"),
    "huge": 10**400,
    "fraction": Fraction(1, 3),
    "decimal": Decimal("0.1"),
    "complex": 1j,
    "bool": True,
    "empty": torch.empty(0),
    "other shape": torch.ones(2, 3, 5, 7),
    "integers": torch.ones(3, dtype=torch.int64),
    "meta": torch.ones(3, device="meta"),
    "sparse": torch.eye(3).to_sparse(),
    "half tensor": torch.ones(3, dtype=torch.float16),
    "gradient": torch.ones(3, requires_grad=True) * 2,
    "pair of texts": ("a", "b"),
    "type of tensor": torch.float32,
}
BAD = (
    {f"raises {name}": _raises(error) for name, error in RAISING.items()}
    | {f"returns {name}": _returns(value) for name, value in RETURNED.items()}
    | {
        "recurses": _recursion,
        "generates": _generator,
        "prints": _prints_and_returns_text,
        "takes nothing": lambda: 1,
        "is built in": max,
        "needs a keyword": lambda *_, option: 1,
    }
)


def spoil(value):
    """Change an argument in place, if that is possible."""
    if torch.is_tensor(value) and value.numel():
        value.flatten()[0].logical_not_() if value.dtype == torch.bool else value.add_(1)
    elif isinstance(value, np.ndarray):
        value += 1
    elif isinstance(value, list):
        value.append(None)


def changed(change):
    """A function on the numbers inside a result of any structure."""

    def apply(value):
        if isinstance(value, dict):
            return {key: apply(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(apply(item) for item in value)
        if isinstance(value, float):  # as a tensor it would be a single
            return change(torch.tensor(value, dtype=torch.float64))
        return value if isinstance(value, str) else change(torch.as_tensor(value))

    return apply


def spoiled(number, change):
    """The reference of an exercise with a change to the numbers in its result."""
    return lambda *inputs: changed(change)(EXERCISES[number].reference(*inputs))


# What a function may do to the right answer by mistake; each is told in words, right or wrong.
MISTAKES = {
    "one dimension more": lambda x: x[None],
    "flat": lambda x: x.flatten(),
    "one number": lambda x: x.to(torch.complex128).sum(),
    "cut": lambda x: x[..., :-1] if x.ndim else x.new_zeros(0),
    "float32": lambda x: x.to(torch.complex64 if x.is_complex() else torch.float32),
    "float16": lambda x: x.real.half(),
    "integers": lambda x: x.real.round().long(),
    "bools": lambda x: x != 0,
    "complex": lambda x: x.to(torch.complex128),
    "nan": lambda x: x * float("nan"),
    "array": lambda x: x.resolve_conj().numpy(),
    "nested lists": lambda x: x.tolist(),
    "with gradient": lambda x: (x.to(torch.complex128) * torch.ones(1, requires_grad=True)).real,
    "sparse": lambda x: x.to_sparse() if x.ndim else x,
    "wrapped": lambda x: (x,),
}


def drawn(number):
    return EXERCISES[number].drawn(0)


def test_properties_see_tensors_whatever_the_answer_is_made_of():
    seen = []
    tensors = Property("is a tensor", lambda case: seen.append(case.result) or True, "no hint")
    register("99.2", properties=[tensors], wrong=[(without_two, AGREES)])
    assert check("99.2", lambda *inputs: weights(*inputs).double().numpy())
    assert all(torch.is_tensor(r) and r.dtype == torch.float32 for r in seen)


def reference_of(number):
    return EXERCISES[number].reference


def same(a, b):
    return difference(a, b, 1e-6) is None


def swapped(value):
    """The outputs in another order."""
    return type(value)(value[::-1]) if isinstance(value, list | tuple) else value


def one_less(value):
    return type(value)(value[:-1]) if isinstance(value, list | tuple) else value


def one_more(value):
    return type(value)([*value, value[-1]]) if isinstance(value, list | tuple) else (value, value)


def other_sequence(value):
    """A list for a tuple, a tuple for a list."""
    if isinstance(value, list | tuple):
        return list(value) if isinstance(value, tuple) else tuple(value)
    return value


# Name -> (what it does to the right answer, whether the answer is of another kind).
WRONG = {
    "transposed": (changed(lambda x: x.mT if x.ndim > 1 else x), True),
    "axes reversed": (changed(lambda x: x.permute(tuple(range(x.ndim))[::-1])), True),
    "flipped": (changed(lambda x: x.flip(-1) if x.ndim else x), False),
    "rolled": (changed(lambda x: x.roll(1, -1) if x.ndim else x), False),
    "twice": (changed(lambda x: 2 * x if x.dtype != torch.bool else ~x), False),
    "half": (changed(lambda x: x / 2 if x.dtype != torch.bool else ~x), False),
    "negative": (changed(lambda x: -x if x.dtype != torch.bool else ~x), False),
    "shifted": (changed(lambda x: x + 1 if x.dtype != torch.bool else ~x), False),
    "squared": (changed(lambda x: x.square() if x.dtype != torch.bool else ~x), False),
    "first channel only": (changed(lambda x: x[:1] if x.ndim > 2 else x), True),
    "a batch of one": (changed(lambda x: x[None]), True),
    "a column": (changed(lambda x: x[..., None]), True),
    "outputs swapped": (swapped, False),
    "an output too few": (one_less, True),
    "an output too many": (one_more, True),
}
FORMS = {
    "numpy": lambda x: x.resolve_conj().numpy(),
    "with a gradient": lambda x: x * torch.ones((), requires_grad=True) if is_float(x) else x,
    "not contiguous": lambda x: x.mT.contiguous().mT if x.ndim > 1 else x,
    "float64": lambda x: x.double() if is_float(x) else x,
    "a number": lambda x: x if x.ndim else x.item(),
}


def is_float(x):
    return x.is_floating_point() and not x.is_complex()


# Every exercise of the book


@pytest.mark.parametrize("number", sorted(EXERCISES))
class TestRegistered:
    """The reference passes; every wrong answer fails the property it should, with a hint."""

    def test_reference_passes(self, number):
        result = check(number, EXERCISES[number].reference)
        assert result, str(result)

    def test_wrong_answers_fail_with_their_hint(self, number):
        for function, name in EXERCISES[number].wrong:
            result = EXERCISES[number].check(function)
            assert result.failed == name, str(result)
            assert EXERCISES[number].hint_of(name) in str(result)

    @pytest.mark.parametrize("secret", ["2027 Ä"])
    def test_reference_passes_with_any_secret(self, number, secret):
        result = check(number, EXERCISES[number].reference, secret=secret)
        assert result, str(result)

    @pytest.mark.parametrize("secret", ["apple", "pear"])
    def test_wrong_answers_fail_on_the_inputs_of_a_secret_alone(self, number, secret):
        # Under this number, its own inputs are those that the secret adds.
        alone = dataclasses.replace(EXERCISES[number], number=f"{secret}/{number}")
        for function, _ in alone.wrong:
            assert alone.check(function).status == "wrong"

    def test_unwritten(self, number):
        assert check(number, lambda *_: None).status == "unwritten"

    def test_lives_in_its_chapters_file(self, number):
        chapter = int(number.split(".")[0])
        module = importlib.import_module(f"{exercises.__name__}.chapter{chapter:02d}")
        assert EXERCISES[number].inputs.__module__ == module.__name__

    def assert_in_words(self, result):
        assert result.status in ("right", "wrong", "unwritten")
        for text in (str(result), result._repr_html_()):
            assert f"Exercise {result.number}" in text
            assert "Traceback" not in text
            assert 'File "' not in text

    @pytest.mark.filterwarnings("ignore")
    def test_bad_functions_are_answered_in_words(self, number):
        for name, function in BAD.items():
            result = check(number, function)
            assert result.status == "wrong", name
            self.assert_in_words(result)

    def test_properties_are_verbs(self, number):
        for item in EXERCISES[number].properties:
            assert re.match(r"(never )?[a-z]+s |cannot ", item.name), item.name

    def test_plausible_wrong_answers_are_rejected_for_the_right_reason(self, number):
        first = EXERCISES[number].reference(*copy.deepcopy(list(drawn(number).values())))
        for name, (change, kind) in WRONG.items():
            if same(change(first), first):
                continue  # the change is none: the transpose of a symmetric matrix, say
            result = EXERCISES[number].check(lambda *a, c=change: c(reference_of(number)(*a)))
            assert result.status == "wrong", (name, str(result))
            if kind and wrong_kind(change(first), first):
                assert result.failed == KIND, (name, str(result))

    def test_right_answers_in_other_forms_pass(self, number):
        for name, change in FORMS.items():
            result = check(number, spoiled(number, change))
            assert result, (name, str(result))
        reference = EXERCISES[number].reference
        assert check(number, lambda *a: other_sequence(reference(*a)))

    @pytest.mark.filterwarnings("ignore")
    def test_changed_answers_are_answered_in_words(self, number):
        for mistake in MISTAKES.values():
            self.assert_in_words(check(number, spoiled(number, mistake)))

    def test_changing_any_array_in_place_is_told(self, number):
        def function(*inputs):
            result = reference(*copy.deepcopy(inputs))
            for value in inputs:
                spoil(value)
            return result

        reference = EXERCISES[number].reference
        inputs = EXERCISES[number].inputs(torch.Generator().manual_seed(0)).values()
        if not any(torch.is_tensor(value) or isinstance(value, np.ndarray) for value in inputs):
            pytest.skip("no argument can be changed in place")
        result = check(number, function)
        assert result.failed == PURE
        self.assert_in_words(result)
