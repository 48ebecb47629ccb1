"""Several trainers on slices of the corpus, and how their changes are merged."""
