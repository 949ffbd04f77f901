"""What is said of thresholds and of the baseline is what the reference holds."""

from __future__ import annotations

import json

import numpy as np
from scipy.stats import binomtest

from harness.gate import explain, reference, rule
from harness.gate.reference import Reference


def test_every_limit_is_named(recorded: Reference) -> None:
    text = " ".join(explain.text(recorded).split())
    # The limits that docs/gate.md promises, as numbers: whoever changes one of them changes what the gate means.
    for limit in (
        "trains 63 seeds and compares them with the 1024 seeds",
        "zero errors come at least 1 epoch later (p at most 0.5%)",
        "the errors at epoch 40 increase by at least 1 (p at most 0.2%)",
        "fewer seeds reach zero errors (p at most 0.1%)",
        "the one-sided 95% confidence bound of the slowdown is below 10%",
        "at most 104 ULPs",
        "within a relative 1e-05",
    ):
        assert limit in text


def test_the_reference_is_described_as_its_file_says(recorded: Reference) -> None:
    text = " ".join(explain.text(recorded).split())
    content = json.loads(reference.path_of(recorded.dataset["name"]).read_text())
    assert f"{content['early']['left']} of {content['early']['tried']} correct trainings" in text
    assert f"recorded {content['records'][-1]['date']}: {content['records'][-1]['reason']}" in text
    assert f"{len(content['repeats']['seeds'])} seeds, 100000 to 101023, xla, 100 epochs each" in text


def test_the_rule_has_five_sentences(recorded: Reference) -> None:
    assert len(explain.the_rule(recorded)) == 5


def test_the_slowdown_that_is_detected_is_that_of_the_rule_as_it_is(recorded: Reference) -> None:
    assert recorded.detectable == rule.detectable(recorded.repeats.sample(), recorded.n_gate_seeds)
    assert f"9 of 10 gates detect a slowdown of {recorded.detectable:+.0%}" in explain.text(recorded)


def test_what_is_said_of_the_baseline_is_counted_from_its_seeds(recorded: Reference) -> None:
    repeats = recorded.repeats
    epochs = np.array([np.inf if epoch is None else epoch for epoch in repeats.first_zero])
    text = "\n".join(explain.baseline(repeats))
    n = len(epochs)
    for epoch in (50, 60, 80):
        by = int((epochs <= epoch).sum())
        interval = binomtest(by, n).proportion_ci(method="wilson")
        share = f"{by / n:.1%} ({interval.low:.1%} to {interval.high:.1%})"
        assert f"{share} of the seeds have reached zero errors by epoch {epoch}\n" in text
    assert f"median {np.median(epochs):.0f} (" in text
    assert f"{np.mean(np.array(repeats.returned) > 0):.1%} (" in text
    assert f"{np.mean(np.array(repeats.final_errors) > 0):.1%} (" in text
    assert f"after {repeats.errors_at} epochs, {np.mean(repeats.errors):.1f} errors" in text


def test_no_line_is_too_long_for_a_terminal(recorded: Reference) -> None:
    assert max(map(len, explain.text(recorded).splitlines())) <= 110
