"""The tests stand as the product does: those of a module are found by its name."""

from __future__ import annotations

import pathlib

import pytest

from tools.planted_defects import defects

ROOT = pathlib.Path(__file__).parents[2]
LONG = 60
"""Lines of a module; a longer one has a test module of its name, in the folder that mirrors its own."""
COVERED = {
    # What a kernel does is seen in what calls it.
    "backends/test_cpu.py": (
        "pipeline/kernels/arithmetic.py",
        "pipeline/kernels/block.py",
        "pipeline/kernels/definition.py",
        "pipeline/kernels/gradients.py",
        "pipeline/kernels/lanes.py",
        "pipeline/kernels/plan.py",
        "pipeline/kernels/weight_rows.py",
        "pipeline/kernels/step.py",
        "pipeline/kernels/team.py",
    ),
    "runs/test_directory.py": ("pipeline/runs/differences.py",),
    "runs/test_run.py": ("pipeline/runs/recorded_run.py",),
    "test_options.py": ("pipeline/option_values.py",),
    "batches/test_rows.py": ("pipeline/kernels/generate.py", "pipeline/kernels/negatives.py"),
    "corpus/test_word_table.py": ("pipeline/kernels/bits.py", "pipeline/kernels/words.py"),
    "corpus/test_csv_records.py": ("pipeline/kernels/csv_records.py",),
    "corpus/tokenizers/test_unicode_words.py": ("pipeline/kernels/clusters.py", "pipeline/kernels/word_break.py"),
    "kernels/test_kernel_cache.py": ("pipeline/kernels/compile.py", "pipeline/runtime/private_folders.py"),
    "training/replicas/test_trainer.py": (
        "pipeline/kernels/merge.py",
        "pipeline/training/replicas/slice_training.py",
    ),
    "training/test_trainer.py": ("pipeline/training/epochs.py",),
    "jobs/test_list_of_commands.py": ("jobs/__main__.py",),
    "words/test_phrases.py": (
        "pipeline/kernels/phrases.py",
        "pipeline/storage/parquet.py",
        "pipeline/words/phrase_joining.py",
        "transforms/phrases.py",
    ),
    # One suite runs over all that have one interface.
    "storage/test_storage.py": (
        "pipeline/storage/object_store.py",
        "pipeline/storage/open_storage.py",
        "pipeline/storage/world.py",
    ),
    "corpus/tokenizers/test_functions.py": ("pipeline/corpus/tokenizers/tokenizer.py",),
    "backends/cuda/test_device.py": ("pipeline/backends/cuda/buffers.py",),
    "backends/cuda/test_emulated_steps.py": (
        "pipeline/backends/backend.py",
        "pipeline/backends/cuda/backend.py",
        "pipeline/backends/cuda/loss_tiles.py",
    ),
    "training/test_made_rows.py": ("pipeline/backends/cuda/device_rows.py", "pipeline/backends/cuda/made_steps.py"),
    "backends/test_open_backend.py": ("pipeline/training/on_device.py",),
    # Parts of one thing, which is tested whole.
    "analysis/report/test_page.py": (
        "jobs/report.py",
        "pipeline/analysis/report/data.py",
    ),
    "analysis/test_export.py": ("jobs/export.py",),
    "corpus/readers/test_reader.py": ("pipeline/corpus/readers/open_reader.py",),
    "corpus/test_lines.py": ("pipeline/corpus/dead_letters.py",),
    "runs/test_preprocessed.py": ("jobs/sources.py", "transforms/preprocessed.py"),
    "batches/test_stored.py": ("pipeline/batches/shards.py",),
    "corpus/readers/test_parquet.py": (
        "pipeline/corpus/readers/open_reader.py",
        "pipeline/corpus/readers/parquet_columns.py",
    ),
    "corpus/tokenizers/test_items.py": ("pipeline/kernels/items.py",),
    "runs/test_input_check.py": ("pipeline/corpus/digests.py",),
    "jobs/test_follow.py": ("jobs/series_job.py",),
    "jobs/test_promote.py": ("jobs/log.py",),
    "jobs/test_reproduce.py": ("pipeline/runs/contents.py",),
    "runs/test_verify.py": ("pipeline/runs/stage_records.py",),
    "transforms/test_any_pipeline.py": ("pipeline/batches/sentence_rows.py", "pipeline/words/distribution.py"),
    "transforms/test_sentences.py": ("pipeline/corpus/sentence_files.py",),
    "words/test_vocabulary.py": ("pipeline/words/stored_vocabulary.py",),
    # Commands.
    "jobs/test_evaluate.py": ("jobs/cli/reading_options.py", "pipeline/analysis/scores.py"),
    "jobs/runners/test_launch.py": ("jobs/runners/worker_failures.py",),
    "jobs/test_open_ports.py": ("jobs/runners/private_workers.py",),
    "project/test_from_others.py": ("jobs/cli/names_elsewhere.py",),
    "project/test_docs.py": ("jobs/cli/options_reference.py",),
    "beam2vec/test_sentences.py": ("pipeline/corpus/given_sentences.py",),
    "beam2vec/test_training.py": ("beam2vec/__init__.py", "jobs/training_job.py"),
}
"""Test module (below tests/) -> the long modules without one of their name that it covers."""
MODULES = sorted(
    path.relative_to(ROOT)
    for floor in ("beam2vec", "pipeline", "transforms", "jobs")
    for path in (ROOT / floor).rglob("*.py")
)


def own_tests(module: pathlib.PurePath) -> pathlib.Path:
    """Where the tests of its name are: pipeline/words/counts.py -> tests/words/test_counts.py."""
    mirrored = module.relative_to("pipeline") if module.parts[0] == "pipeline" else module
    return ROOT / "tests" / mirrored.with_name(f"test_{module.name}")


def test_a_long_module_has_tests_of_its_name_or_stands_in_the_list():
    listed = {pathlib.Path(module) for modules in COVERED.values() for module in modules}
    long = [module for module in MODULES if len((ROOT / module).read_text().splitlines()) > LONG]
    assert [module for module in long if module not in listed and not own_tests(module).is_file()] == []


@pytest.mark.parametrize("tests", COVERED)
def test_the_list_names_what_is_there_and_needs_it(tests):
    assert (ROOT / "tests" / tests).is_file()
    for module in map(pathlib.Path, COVERED[tests]):
        assert module in MODULES
        assert not own_tests(module).exists(), f"{module} has tests of its name: take it off the list"


def test_no_module_of_tests_is_long():
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert {path.name: lines for path, lines in lengths.items() if lines > 400} == {}


def test_planted_defects_are_where_they_are_said_to_be():
    listed = defects()
    assert len(listed) > 100
    for defect in listed:
        assert defect.planted()
        assert all((ROOT / tests).exists() for tests in defect.tests_to_run()), defect.name
