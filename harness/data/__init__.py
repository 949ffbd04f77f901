"""The 5000 images: code that reads, generates and verifies them."""
