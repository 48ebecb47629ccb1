"""Options by the names that other programs give them."""

from __future__ import annotations

_ELSEWHERE = {
    "vector_size": "--dims",
    "size": "--dims",
    "dim": "--dims",
    "workers": "--threads",
    "thread": "--threads",
    "iter": "--epochs",
    "epoch": "--epochs",
    "alpha": "--learning_rate",
    "lr": "--learning_rate",
    "sample": "--subsample",
    "t": "--subsample",
    "negative": "--negatives",
    "neg": "--negatives",
    "ws": "--window",
    "windowSize": "--window",
    "vectorSize": "--dims",
    "minCount": "--min_count",
    "maxIter": "--epochs",
    "stepSize": "--learning_rate",
    "maxSentenceLength": "--max_sentence",
    "inputCol": "--field",
    "sg": "--model=skipgram (or cbow)",
    "cbow": "--model=cbow (or skipgram)",
    "corpus_file": "--input",
    "train": "--input",
    "ns_exponent": "--power",
    "max_final_vocab": "--max_vocabulary",
    "read_vocab": "--vocabulary",
    "binary": "--format=word2vec-binary of beam2vec export",
}
"""Options by the names that gensim, word2vec.c, fastText and Spark MLlib give them."""
_NOT_HERE = {
    "hs": "training is by negative sampling alone",
    "min_alpha": "the learning rate always falls to a ten-thousandth",
    "max_vocab_size": "nothing is pruned while words are counted; --max_vocabulary cuts afterwards",
    "save_vocab": "the vocabulary is in the run, vocabulary/*/vocabulary.parquet",
    "minn": "words are not cut into parts",
    "maxn": "words are not cut into parts",
    "bucket": "words are not cut into parts",
    "wordNgrams": "words are joined by --phrases",
    "loss": "it is always that of negative sampling",
    "compute_loss": "the loss is always computed: it is in the report, and in metrics/",
    "shrink_windows": "windows always shrink at random, as in word2vec.c",
    "batch_words": "--batch_size is the number of words in a training step",
    "trim_rule": "--min_count, --max_vocabulary and --vocabulary say which words stay",
    "pretrainedVectors": "--start_from names a run or a file of vectors to begin with",
    "sorted_vocab": "the vocabulary is always sorted by count",
    "hashfxn": "the random vectors depend on --seed alone",
    "null_word": "there is no such word, since windows end at the ends of a sentence",
    "callbacks": "progress= of beam2vec.train is called as training goes on",
    "comment": "the name of --output may say what the run is for",
    "numPartitions": "--threads and workers of the runner change no byte, --replicas does",
    "outputCol": "vectors are in the run: docs/from-spark.md has those of documents",
    "cbow_mean": "--model=cbow always takes the mean",
}
"""Options of theirs that beam2vec lacks, and why."""


def named_elsewhere(argument: str) -> str:
    """What to write in place of an option of gensim, word2vec.c, fastText or Spark MLlib; "" for other arguments."""
    name = argument.lstrip("-").partition("=")[0].replace("-", "_")  # word2vec.c has one dash
    if argument.startswith("-") and name in _ELSEWHERE:
        return f"--{name} is no option: it is called {_ELSEWHERE[name]} here"
    if argument.startswith("-") and name in _NOT_HERE:
        return f"--{name} is no option: {_NOT_HERE[name]}"
    return ""
