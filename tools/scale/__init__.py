"""Corpora beyond one machine: what each stage costs, forecasts made of that, and the largest parts at full size."""
