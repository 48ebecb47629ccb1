"""Logs a run to MLflow: options as parameters, the loss curve as metrics, the digest as a tag.

    python -m examples.mlflow_logging runs/topics
    MLFLOW_TRACKING_URI=http://tracking:5000 python -m examples.mlflow_logging runs/topics

Call it once the run has ended. Needs mlflow: pip install mlflow
"""

from __future__ import annotations

import sys
import time

if sys.argv[1:2] in (["--help"], ["-h"]):
    sys.exit(print(__doc__))
try:
    import mlflow
    from mlflow.entities import Metric, Param, RunTag
except ImportError:
    sys.exit("this example needs mlflow: pip install mlflow")

from beam2vec import Run

TOGETHER = 1000
"""Metrics that MLflow takes in one request."""
CURVES = ("loss", "learning_rate", "holdout_loss")


def log(run: Run, experiment: str = "beam2vec") -> str:
    """Logs the run; returns the id that MLflow gave it."""
    checkpoint, table = run.checkpoint(), run.metrics()
    now = int(time.time() * 1000)
    end = table["seconds"].to_pylist()[-1] if table.num_rows else 0.0
    metrics = [
        Metric(name, point[name], now - int(1000 * (end - point["seconds"])), point["step"])
        for point in table.to_pylist()
        for name in CURVES
        if point.get(name) is not None
    ]
    options = {name: value for name, value in run.identity["options"]["model"].items() if value is not None}
    tags = {"digest": checkpoint.digest, "beam2vec.run": run.uri, "beam2vec.step": str(checkpoint.step)}
    client = mlflow.MlflowClient()
    known = client.get_experiment_by_name(experiment)
    made = client.create_run(known.experiment_id if known else client.create_experiment(experiment))
    client.log_batch(
        made.info.run_id,
        params=[Param(name, str(value)) for name, value in options.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    for first in range(0, len(metrics), TOGETHER):
        client.log_batch(made.info.run_id, metrics=metrics[first : first + TOGETHER])
    client.set_terminated(made.info.run_id)
    return str(made.info.run_id)


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        sys.exit("usage: python -m examples.mlflow_logging RUN")
    print(f"logged as {log(Run(arguments[0]))} to {mlflow.get_tracking_uri()}")


if __name__ == "__main__":
    main(sys.argv[1:])
