"""The 5000 images: reading them, making them, and checking that they are the right ones."""
