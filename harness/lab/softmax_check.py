"""Checks a learner's ``my_softmax``, and describes each mistake with a likely cause and a hint.

The function runs in a separate process (:mod:`harness.lab.softmax_process`) with a time limit. This module receives the
returned numbers, and compares them with the correct result.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import StoppedError
from harness.lab.softmax_process import TIMED_OUT
from harness.network.softmax import my_softmax_stable

# Time limits in seconds: one for all calls of the function together, and one for the whole process.
TIME_LIMIT_S = 10.0
_LOADED_WITHIN_S = 120.0
_CLOSE = 1e-6

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One call of the function under test.

    Attributes:
        z: Argument.
        kind: Type of the argument: ``float64``, ``float32`` or ``list``.
    """

    z: tuple[float, ...]
    kind: str = "float64"


# The calls that check the function, by name. The first two are the lab's own tests.
CASES = {
    "the lab's vector": Case((1.0, 2.0, 3.0, 4.0)),
    "equal entries": Case((0.0, 0.0, 0.0, 0.0)),
    "ten entries": Case((-3.0, 1.5, 0.25, 2.0, -0.5, 4.0, 0.0, -6.0, 3.5, 1.0)),
    "shifted": Case((11.0, 12.0, 13.0, 14.0)),
    "negative": Case((-4.0, -3.0, -2.0, -1.0)),
    "float32": Case((1.0, 2.0, 3.0, 4.0), "float32"),
    "a list": Case((1.0, 2.0, 3.0, 4.0), "list"),
    "large": Case((1000.0, 1001.0, 1002.0, 1003.0)),
}


@dataclass(frozen=True)
class Answer:
    """The result of one call.

    Attributes:
        values: Returned numbers as a flat array; None if the function returned no numbers.
        shape: Shape of the returned numbers.
        returned: Name of the type of the returned value.
        error: Exception as text; empty if the function raised none.
        is_changed: Whether the function changed its argument.
    """

    values: Vector | None
    shape: tuple[int, ...]
    returned: str
    error: str
    is_changed: bool


@dataclass(frozen=True)
class Mistake:
    """The description of a mistake, and a hint that does not reveal the solution."""

    sentence: str
    hint: str


def check(function: str) -> list[Mistake]:
    """Check a learner's softmax function.

    Args:
        function: Function as ``FILE.py:function``.

    Returns:
        The mistakes, the most basic one first. Empty if the function is correct.

    Raises:
        StoppedError: The file or the function cannot be loaded.
    """
    answers = _answers(function)
    if isinstance(answers, Mistake):
        return [answers]
    first = _of_the_lab(answers)
    return [first] if first else [mistake for mistake in _of_other_cases(answers) if mistake]


def _answers(function: str) -> dict[str, Answer] | Mistake:
    """Call the function once for each case, in a separate process.

    Returns:
        The answers by the name of the case. If the calls exceed the time limit, a :class:`Mistake` that reports this.

    Raises:
        StoppedError: The file or the function cannot be loaded.
    """
    asked = {name: [list(case.z), case.kind] for name, case in CASES.items()}
    command = [sys.executable, "-P", "-m", "harness.lab.softmax_process", function, str(TIME_LIMIT_S)]
    try:
        done = subprocess.run(
            command, input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=_LOADED_WITHIN_S
        )
    except subprocess.TimeoutExpired:
        cause = f"{function} could not be loaded within {_LOADED_WITHIN_S:.0f} s"
        raise StoppedError(cause, "Remove the slow statements outside the function.") from None
    if done.returncode == TIMED_OUT:
        return Mistake(
            f"my_softmax does not return within {TIME_LIMIT_S:.0f} s. A loop may never end.",
            "Which variable ends the loop? Does this variable change in each iteration?",
        )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["it ended its process"])[-1]
        raise StoppedError(
            f"{function} cannot be run: {last}", "Correct the file, and run the command again."
        ) from None
    return {name: _answer(found[name]) for name in CASES}


def _answer(found: dict[str, Any]) -> Answer:
    values = None if found["values"] is None else np.array(found["values"], np.float64)
    return Answer(values, tuple(found["shape"]), found["returned"], found["error"], found["is_changed"])


def _expected(name: str) -> Vector:
    return np.asarray(my_softmax_stable(np.array(CASES[name].z)), np.float64)


def _is_close(answer: Answer, expected: Vector) -> bool:
    return (
        answer.values is not None
        and answer.shape == expected.shape
        and bool(np.allclose(answer.values, expected, rtol=0, atol=_CLOSE))
    )


# Common wrong formulas, with a description of the mistake and a hint for each.
_FORMULAS: tuple[tuple[Callable[[Vector], Vector], str, str], ...] = (
    (
        np.exp,
        "The exponentials are not divided by their sum.",
        "The results of softmax are probabilities. What is the sum of all probabilities?",
    ),
    (
        lambda z: z / z.sum(),
        "The entries are divided by their sum. The exponential is missing.",
        "What does softmax do to each entry before it divides?",
    ),
    (
        lambda z: np.exp(z) / np.exp(z).max(),
        "The exponentials are divided by the largest exponential. They must be divided by their sum.",
        "What do the results add up to?",
    ),
    (
        lambda z: np.exp(z) / len(z),
        "The exponentials are divided by the number of entries. They must be divided by their sum.",
        "What do the results add up to?",
    ),
    (
        lambda z: np.exp(z) / np.cumsum(np.exp(z)),
        "The loop divides before the sum is complete.",
        "Is the denominator known during the first loop, or only after the first loop?",
    ),
    (
        lambda z: np.exp(z) / z.sum(),
        "The exponentials are divided by the sum of the entries. This is the wrong sum.",
        "The denominator is a sum. Which numbers does it add?",
    ),
    (
        lambda z: 2**z / (2**z).sum(),
        "The base of the power is 2. It must be e.",
        "Which function of NumPy computes e to the power of z?",
    ),
    (
        lambda z: 10**z / (10**z).sum(),
        "The base of the power is 10. It must be e.",
        "Which function of NumPy computes e to the power of z?",
    ),
    (
        lambda z: np.log(np.exp(z) / np.exp(z).sum()),
        "The result is the logarithm of the probabilities.",
        "Can a probability be negative?",
    ),
    (
        lambda z: 1 / (1 + np.exp(-z)),
        "The result is the sigmoid of each entry. It must be the softmax of all entries.",
        "Each result of softmax depends on all entries. Where does your code use the other entries?",
    ),
    (
        lambda z: (z == z.max()).astype(np.float64),
        "The result is 1 for the largest entry and 0 for all others.",
        "Softmax gives every entry a probability above 0.",
    ),
    (
        lambda z: np.exp(-z) / np.exp(-z).sum(),
        "The sign is wrong: the largest entry gets the smallest probability.",
        "Which entry should get the largest probability?",
    ),
)


def _of_the_lab(answers: dict[str, Answer]) -> Mistake | None:
    """Return the mistake in the result for the lab's vector; None if the result is correct."""
    answer, expected = answers["the lab's vector"], _expected("the lab's vector")
    if _is_close(answer, expected):
        return None
    if answer.error:
        return Mistake(
            f"my_softmax raises an error for z = [1, 2, 3, 4]: {answer.error}.",
            "Read the last line of the error message.",
        )
    if answer.returned == "NoneType":
        return Mistake("my_softmax returns nothing.", "Which statement returns a result from a function?")
    if answer.values is None or answer.shape != expected.shape:
        what = answer.returned if answer.values is None else f"{answer.returned} of shape {answer.shape}"
        return Mistake(
            f"my_softmax returns {what} for four entries. It must return four numbers.",
            "Softmax computes one probability for each entry of z.",
        )
    return _wrong_formula(answer) or _wrong_numbers(answer.values, expected)


def _wrong_formula(answer: Answer) -> Mistake | None:
    """Compare the returned numbers with those of common wrong formulas.

    Returns:
        The mistake of the formula that gives the same numbers; None if no such formula does.
    """
    z = np.array(CASES["the lab's vector"].z)
    found = (Mistake(sentence, hint) for formula, sentence, hint in _FORMULAS if _is_close(answer, formula(z)))
    return next(found, None)


def _wrong_numbers(values: Vector, expected: Vector) -> Mistake:
    """Describe numbers that are wrong, but not those of a common wrong formula."""
    if not values.any():
        return Mistake(
            "All results are zero. The array keeps its initial zeros, or it can hold only whole numbers.",
            "What is the data type of your result array? Does your code assign every entry?",
        )
    if not values[0] or not values[-1]:
        end = "first" if not values[0] else "last"
        return Mistake(
            f"The {end} entry of the result is zero: the loop skips this entry.",
            "Which indices does range produce for this loop?",
        )
    if np.allclose(values, expected, rtol=0, atol=0.006):
        return Mistake("The results are rounded.", "Does the task ask for rounded numbers?")
    wrong = int(np.argmax(~(np.abs(values - expected) <= _CLOSE)))  # also true for NaN
    return Mistake(
        f"The result for z = [1, 2, 3, 4] is wrong: entry {wrong} is {values[wrong]:.6g}. The correct value is "
        f"{expected[wrong]:.6g}.",
        "Compute this entry by hand: divide its exponential by the sum of all exponentials.",
    )


def _of_other_cases(answers: dict[str, Answer]) -> Sequence[Mistake | None]:
    """Return the mistakes of a function that is correct for the lab's vector, ``[1, 2, 3, 4]``.

    Such a function may still be wrong for other vectors or types, or change its argument.
    """
    if any(answer.is_changed for answer in answers.values()):
        changed: Mistake | None = Mistake(
            "my_softmax changes its argument: z has different values after the call.",
            "Which statement writes into z? Write into a new array instead.",
        )
    else:
        changed = None
    return (
        _length(answers),
        _shift(answers),
        changed,
        _other(answers, "float32", "float32 numbers", "What is the data type of your result array?"),
        _other(answers, "a list", "a list", "Which operation needs an array? NumPy can convert a list to an array."),
        _overflow(answers["large"]),
    )


def _length(answers: dict[str, Answer]) -> Mistake | None:
    for name, said in (("ten entries", "ten entries"), ("equal entries", "four equal entries")):
        answer = answers[name]
        if not _is_close(answer, _expected(name)):
            wrong = answer.error or "its result differs from TensorFlow's"
            return Mistake(
                f"my_softmax is correct for [1, 2, 3, 4], but wrong for {said}: {wrong}.",
                "Does your code contain a number from the lab's example, such as 4?",
            )
    return None


def _shift(answers: dict[str, Answer]) -> Mistake | None:
    if all(_is_close(answers[name], _expected(name)) for name in ("shifted", "negative")):
        return None
    return Mistake(
        "The result is wrong if the same number is added to every entry of z, or if all entries are negative.",
        "Softmax depends only on the differences between the entries. Where does your code use a single entry?",
    )


def _other(answers: dict[str, Answer], name: str, said: str, hint: str) -> Mistake | None:
    answer = answers[name]
    if _is_close(answer, _expected(name)):
        return None
    wrong = answer.error or "its result differs from TensorFlow's"
    return Mistake(f"my_softmax does not work for {said}: {wrong}.", hint)


def _overflow(answer: Answer) -> Mistake | None:
    if _is_close(answer, _expected("large")):
        return None
    return Mistake(
        "my_softmax overflows at z = 1000: the exponential of 1000 is larger than any float. The lab's tests do not "
        "detect this mistake.",
        "The result of softmax does not change if the same number is subtracted from every entry. Which number keeps "
        "the exponentials small?",
    )
