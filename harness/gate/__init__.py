"""The regression gate: does the baseline still train as recorded, and does it still reach zero errors?

:mod:`harness.gate.run` trains the baseline and compares the results with a recorded reference
(:mod:`harness.gate.reference`). :mod:`harness.gate.trace` compares the losses epoch by epoch.
:mod:`harness.gate.convergence` compares the first zero epochs and the error counts of many seeds. Each comparison gives
a check with a verdict (:mod:`harness.gate.verdict`).
"""
