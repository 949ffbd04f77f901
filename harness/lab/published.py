"""The training log that the lab published."""

# The published losses by epoch, with four decimals. The lab trains on its own images with learning rate 0.001 and
# seed 1234.
LAB_LOG = {1: "1.7094", 2: "0.7480", 3: "0.4428", 38: "0.0344", 39: "0.0312", 40: "0.0294"}
