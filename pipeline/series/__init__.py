"""A series: generations of a model, one after the other, as the text arrives. Its log says all that is true of it."""
