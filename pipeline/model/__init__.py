"""What is trained, in hand and on disk: vectors, their digest, checkpoints, the loss curve."""
