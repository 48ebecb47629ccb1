"""Words -> ids -> training rows: tokens, sampling, rows, the steps that they fall into."""
