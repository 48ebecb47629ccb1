"""Small programs that show the pipeline at work; nothing of the package needs them."""
