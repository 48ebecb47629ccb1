"""What it takes to run beam2vec beyond one process: pieces from package registries, Flink, Dataflow.

Nothing in here is part of the package that is installed; it is run from the project's folder.
"""
