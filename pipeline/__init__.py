"""What each stage does, on NumPy and Arrow, with no Beam in it.

The Beam form of a stage has the same module name in `transforms`. The public names are in `beam2vec`.
"""
