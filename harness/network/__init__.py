"""The network that is trained: its variants, initial weights, Keras model and softmax."""
