#!/usr/bin/env bash
# What a TaskManager starts as a Python worker: Beam's boot program, in the environment of the TaskManager.
#
#   --environment_type=PROCESS --environment_option=process_command=deploy/flink/worker.sh
#
# BEAM2VEC_BOOT names the program (python -m deploy.pieces boot). "python" has to be the one that has
# beam2vec installed, and BEAM2VEC_WORKERS a folder for what workers leave behind.
set -euo pipefail

# Else boot makes an empty environment of its own, without Beam.
export RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1

# A folder for each worker: two would unpack into the same one. Boot also writes the job's options into it.
folder=$(mktemp --directory --tmpdir="${BEAM2VEC_WORKERS:-${TMPDIR:-/tmp}}" worker.XXXXXXXX)
cd "$folder"
exec "${BEAM2VEC_BOOT:?the path of the boot program}" --semi_persist_dir="$folder" "$@"
