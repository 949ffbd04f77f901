"""Code that reads, generates and verifies the 5000 training images."""
