"""The regression gate: does the baseline still train as it did, and still reach zero errors?

What is trained is compared with a reference that was recorded when all was well (:mod:`harness.gate.reference`): one
training epoch by epoch (:mod:`harness.gate.trace`), and many seeds as a distribution (:mod:`harness.gate.convergence`).
:mod:`harness.gate.checks` makes a line of each, :mod:`harness.gate.run` trains what they need.
"""
