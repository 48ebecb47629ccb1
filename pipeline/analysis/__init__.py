"""What a model knows, for people and other programs: evaluations, exports, the report."""
