"""A Flink cluster from Java libraries alone: no distribution, no containers."""
