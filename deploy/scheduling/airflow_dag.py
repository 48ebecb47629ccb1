"""A day of text, a generation: for Airflow 3; with 2.4 and later, BashOperator is in airflow.operators.bash.

The date of the run is the partition, so clearing and backfilling mean what they say: a day that was made is not made
again, and a day that beam2vec promote has released is. Status 99, "nothing was due", is shown as skipped. A refused day
(status 4) fails, and fails again at once however often it is tried, until a person has released or dropped it.
"""

from __future__ import annotations

import datetime

from airflow import DAG
from airflow.providers.standard.operators.bash import BashOperator

SERIES, TEXTS = "s3://models/topics", "s3://texts"

with DAG(
    "beam2vec_topics",
    schedule="@daily",
    start_date=datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC),
    catchup=True,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=10), "depends_on_past": True},
) as dag:
    follow = BashOperator(
        task_id="follow",
        bash_command=(
            f"beam2vec follow --series={SERIES} --once --input_root={TEXTS} --by='dt=*'"
            " --partition={{ ds }} --nothing_new=99"
        ),
        skip_on_exit_code=99,
    )
