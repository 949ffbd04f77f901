"""``harness train``: trains one variant and prints its log."""

from __future__ import annotations

import sys
from typing import Any, get_args

import click

from harness import provenance
from harness.commands import console, options
from harness.commands.help_text import Command
from harness.data.held_out import N_HELD_OUT, why_none
from harness.engines import registry
from harness.files import check_destinations, write_json
from harness.network.variant import BASELINE, AdamKind, SoftmaxPlace, Variant


def _layers(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(units) for units in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 25,15,10") from None


@click.command(
    cls=Command,
    examples={
        "harness train --data optdigits": "Train the baseline with the embedded images",
        "harness train --epochs 100 --learning-rate 0.003 --json run.json": "Also write the results to a file",
    },
)
@options.engine
@click.option("--epochs", type=int, default=BASELINE.epochs, show_default=True, help="The number of epochs.")
@click.option(
    "--learning-rate",
    type=float,
    default=BASELINE.learning_rate,
    show_default=True,
    help="The learning rate of Adam.",
)
@click.option(
    "--seed",
    type=int,
    default=BASELINE.seed,
    show_default=True,
    help="The seed of the first weights and of the order of the images.",
)
@click.option(
    "--layers", callback=_layers, default="25,15,10", show_default=True, help="The number of units in each layer."
)
@click.option(
    "--batch-size", type=int, default=BASELINE.batch_size, show_default=True, help="The number of images in a batch."
)
@click.option(
    "--softmax",
    type=click.Choice(get_args(SoftmaxPlace)),
    default=BASELINE.softmax,
    show_default=True,
    help="The place of softmax: in the loss (logits) or in the output layer (output).",
)
@click.option(
    "--adam",
    type=click.Choice(get_args(AdamKind)),
    help="The library whose rounding Adam uses for 1 - beta. Default: depends on the engine.",
)
@click.option("--beta-1", type=float, default=BASELINE.beta_1, show_default=True, help="beta_1 of Adam.")
@click.option("--beta-2", type=float, default=BASELINE.beta_2, show_default=True, help="beta_2 of Adam.")
@click.option("--epsilon", type=float, default=BASELINE.epsilon, show_default=True, help="epsilon of Adam.")
@options.data
@options.json
@options.quiet
def train(engine: str, data: str, json_to: str | None, quiet: bool, **fields: Any) -> None:  # noqa: ANN401 - click's
    """Train one variant, and print the loss and the error count of each epoch."""
    from harness.commands.progress import EpochLines
    from harness.engines import training

    registry.check(engine)
    registry.check_environment(engine)
    fields["adam"] = fields["adam"] or registry.baseline(engine).adam
    variant = Variant.create(**fields)
    check_destinations(json_to)
    digits = console.load(data)
    on_epoch = None if quiet else EpochLines(sys.stderr if json_to == "-" else sys.stdout)
    [result] = training.run(registry.make(engine, digits), digits, [variant], on_epoch)
    console.say(f"{result.final_errors} errors out of {len(digits.labels)} images", json_to)
    first = result.first_zero_epoch
    console.say(f"first zero epoch: {f'none within {variant.epochs} epochs' if first is None else first}", json_to)
    if result.held_out_errors is None:
        console.say(f"no held-out errors: {why_none(digits.name)}", json_to)
    else:
        console.say(f"{result.held_out_errors} errors out of {N_HELD_OUT} held-out images", json_to)
    if json_to is not None:
        dataset = {name: digits.facts()[name] for name in ("name", "sha256_x", "sha256_y")}
        write_json(
            json_to,
            {
                **result.as_json(),
                "dataset": dataset,
                "versions": provenance.versions(),
                "settings": provenance.computing_settings(),
            },
        )
