"""Checks a learner's own ``my_softmax``: what it gets wrong, the usual mistake behind it, and a hint.

The function runs in a process of its own (:mod:`harness.lab.softmax_process`), with a time limit. Only the numbers that
it returns come back, and this module compares them.
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

# The time limit of all calls together, and of loading the file besides.
TIME_LIMIT_S = 10.0
_LOADED_WITHIN_S = 120.0
_CLOSE = 1e-6

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A call of the function.

    Attributes:
        z: Argument.
        kind: Type of the argument: ``float64``, ``float32`` or ``list``.
    """

    z: tuple[float, ...]
    kind: str = "float64"


# The lab's own two tests come first.
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
    """What the function did in one case.

    Attributes:
        values: Returned numbers, flat; None if it returned no numbers.
        shape: Shape of the returned numbers.
        returned: Type of the returned value.
        error: Exception, as text; empty if there was none.
        is_changed: Whether the function changed its argument.
    """

    values: Vector | None
    shape: tuple[int, ...]
    returned: str
    error: str
    is_changed: bool


@dataclass(frozen=True)
class Mistake:
    """A mistake: a sentence that names it, and a hint that does not give the solution away."""

    sentence: str
    hint: str


def check(function: str) -> list[Mistake]:
    """Check a function.

    Args:
        function: Function as ``FILE.py:function``.

    Returns:
        The mistakes, the most basic first. Empty if there is none.

    Raises:
        StoppedError: The file or the function cannot be loaded.
    """
    answers = _answers(function)
    if isinstance(answers, Mistake):
        return [answers]
    first = _of_the_lab(answers)
    return [first] if first else [mistake for mistake in _of_the_rest(answers) if mistake]


def _answers(function: str) -> dict[str, Answer] | Mistake:
    """Call the function in a process of its own, once for each case."""
    asked = {name: [list(case.z), case.kind] for name, case in CASES.items()}
    command = [sys.executable, "-P", "-m", "harness.lab.softmax_process", function, str(TIME_LIMIT_S)]
    try:
        done = subprocess.run(
            command, input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=_LOADED_WITHIN_S
        )
    except subprocess.TimeoutExpired:
        cause = f"{function} is not loaded within {_LOADED_WITHIN_S:.0f} s"
        raise StoppedError(cause, "Leave out of the file what takes so long.") from None
    if done.returncode == TIMED_OUT:
        return Mistake(
            f"my_softmax does not return within {TIME_LIMIT_S:.0f} s: a loop never ends.",
            "Which variable ends the loop, and does it change in each round?",
        )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["it ended its process"])[-1]
        raise StoppedError(f"{function} cannot be run: {last}", "Correct the file and run again.") from None
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


# The results of the usual wrong formulas, with the sentence that names each.
_FORMULAS: tuple[tuple[Callable[[Vector], Vector], str, str], ...] = (
    (
        np.exp,
        "The exponentials are not divided by their sum.",
        "The results of softmax are probabilities. What must they add up to?",
    ),
    (
        lambda z: z / z.sum(),
        "The entries themselves are divided by their sum, and not their exponentials.",
        "What does softmax do to each entry before it divides?",
    ),
    (
        lambda z: np.exp(z) / np.exp(z).max(),
        "The exponentials are divided by the largest one, and not by their sum.",
        "What do the results add up to?",
    ),
    (
        lambda z: np.exp(z) / len(z),
        "The exponentials are divided by their number, and not by their sum.",
        "What do the results add up to?",
    ),
    (
        lambda z: np.exp(z) / np.cumsum(np.exp(z)),
        "The loop divides before the sum is complete.",
        "When is the denominator known: during the first loop, or after it?",
    ),
    (
        lambda z: np.exp(z) / z.sum(),
        "The exponentials are divided by the sum of the entries, and not by the sum of the exponentials.",
        "Of which numbers is the denominator the sum?",
    ),
    (
        lambda z: 2**z / (2**z).sum(),
        "The base of the power is 2, and not e.",
        "Which function of NumPy computes e to the power of z?",
    ),
    (
        lambda z: 10**z / (10**z).sum(),
        "The base of the power is 10, and not e.",
        "Which function of NumPy computes e to the power of z?",
    ),
    (
        lambda z: np.log(np.exp(z) / np.exp(z).sum()),
        "The result is the logarithm of the probabilities.",
        "Can a probability be negative?",
    ),
    (
        lambda z: 1 / (1 + np.exp(-z)),
        "This is the sigmoid of each entry, and not the softmax of all.",
        "Softmax compares the entries with each other. Where do the other entries come in?",
    ),
    (
        lambda z: (z == z.max()).astype(np.float64),
        "The result marks the largest entry, and gives no probabilities.",
        "Softmax gives every entry a probability above 0.",
    ),
    (
        lambda z: np.exp(-z) / np.exp(-z).sum(),
        "The sign is wrong: the largest entry gets the smallest probability.",
        "Which entry should get the largest probability?",
    ),
)


def _of_the_lab(answers: dict[str, Answer]) -> Mistake | None:
    """The mistake in the lab's own vector, which hides all others."""
    answer, expected = answers["the lab's vector"], _expected("the lab's vector")
    if _is_close(answer, expected):
        return None
    if answer.error:
        return Mistake(f"my_softmax raises an error for z = [1, 2, 3, 4]: {answer.error}.", "Read the last line of it.")
    if answer.returned == "NoneType":
        return Mistake("my_softmax returns nothing.", "How does a function hand its result to the caller?")
    if answer.values is None or answer.shape != expected.shape:
        what = answer.returned if answer.values is None else f"{answer.returned} of shape {answer.shape}"
        return Mistake(
            f"my_softmax returns {what} for four entries, and not four numbers.",
            "Each entry of z needs a probability of its own.",
        )
    return _wrong_formula(answer) or _wrong_numbers(answer.values, expected)


def _wrong_formula(answer: Answer) -> Mistake | None:
    """The usual wrong formula that gives these numbers, if there is one."""
    z = np.array(CASES["the lab's vector"].z)
    found = (Mistake(sentence, hint) for formula, sentence, hint in _FORMULAS if _is_close(answer, formula(z)))
    return next(found, None)


def _wrong_numbers(values: Vector, expected: Vector) -> Mistake:
    """The mistake behind numbers that no usual formula gives."""
    if not values.any():
        return Mistake(
            "All results are zero: the array keeps its initial zeros, or it can hold only whole numbers.",
            "Which type has the array that you fill, and is each of its entries assigned?",
        )
    if not values[0] or not values[-1]:
        end = "first" if not values[0] else "last"
        return Mistake(
            f"The {end} entry of the result is zero: the loop leaves it out.",
            "Which indices does range give for this loop?",
        )
    if np.allclose(values, expected, rtol=0, atol=0.006):
        return Mistake("The results are rounded.", "Who needs fewer digits here?")
    wrong = int(np.argmax(~(np.abs(values - expected) <= _CLOSE)))  # also true for NaN
    return Mistake(
        f"The result for z = [1, 2, 3, 4] is wrong: entry {wrong} is {values[wrong]:.6g}, and TensorFlow has "
        f"{expected[wrong]:.6g}.",
        "Compute this entry by hand: its exponential, divided by the sum of all exponentials.",
    )


def _of_the_rest(answers: dict[str, Answer]) -> Sequence[Mistake | None]:
    """The mistakes that other arguments show, if the lab's vector is right."""
    if any(answer.is_changed for answer in answers.values()):
        changed: Mistake | None = Mistake(
            "my_softmax changes its argument: z has other values afterwards.",
            "Which of your statements writes into z? Work on an array of your own.",
        )
    else:
        changed = None
    return (
        _length(answers),
        _shift(answers),
        changed,
        _other(answers, "float32", "float32 numbers", "Which type has the array that you fill?"),
        _other(answers, "a list", "a list", "Which of your operations needs an array? NumPy can make one of a list."),
        _overflow(answers["large"]),
    )


def _length(answers: dict[str, Answer]) -> Mistake | None:
    for name, said in (("ten entries", "ten entries"), ("equal entries", "four equal entries")):
        answer = answers[name]
        if not _is_close(answer, _expected(name)):
            wrong = answer.error or "its result differs from TensorFlow's"
            return Mistake(
                f"my_softmax is right for [1, 2, 3, 4] and wrong for {said}: {wrong}.",
                "Does a number of the lab's example stand in your code, such as 4?",
            )
    return None


def _shift(answers: dict[str, Answer]) -> Mistake | None:
    if all(_is_close(answers[name], _expected(name)) for name in ("shifted", "negative")):
        return None
    return Mistake(
        "The result changes if the same number is added to every entry of z, or if all entries are negative.",
        "Softmax depends on the differences between the entries alone. Where does your code use an entry by itself?",
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
        "see this.",
        "Softmax stays the same if the same number is subtracted from every entry. Which number keeps the exponentials "
        "small?",
    )
