"""A day of text, a generation: for Airflow 2.7 and later, each in a pod of its own."""

from __future__ import annotations

import datetime

from airflow import DAG
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

SERIES, TEXTS = "s3://models/topics", "s3://texts"

with DAG(
    "beam2vec_topics_in_pods",
    schedule="@daily",
    start_date=datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC),
    catchup=True,
    max_active_runs=1,
    default_args={"retries": 2, "depends_on_past": True},
) as dag:
    follow = KubernetesPodOperator(
        task_id="follow",
        name="beam2vec-follow",
        image="registry.example/beam2vec:0.1.0",
        cmds=["beam2vec"],
        arguments=[
            "follow",
            f"--series={SERIES}",
            "--once",
            f"--input_root={TEXTS}",
            "--by=dt=*",
            "--partition={{ ds }}",
            "--nothing_new=99",
        ],
        skip_on_exit_code=99,
        termination_grace_period=90,
    )
