"""Words -> the vocabulary and its noise: counts, phrases, order, unigram distribution."""
