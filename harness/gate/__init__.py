"""The regression gate: does the baseline still train as recorded, and does it still reach zero errors?

:mod:`harness.gate.run` trains, and compares with a recorded reference (:mod:`harness.gate.reference`): one training
epoch by epoch (:mod:`harness.gate.trace`), and many seeds as a distribution (:mod:`harness.gate.convergence`).
:mod:`harness.gate.checks` turns each comparison into a check with a verdict.
"""
