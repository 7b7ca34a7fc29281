"""Break the code in the places that decide, one at a time, and see that a test notices.

    python -m tools.mutations                  # all of them, in a copy of the project: minutes
    python -m tools.mutations stability chain  # those whose name holds one of these words
    python -m tools.mutations --list

Each mutation is a small change that would be wrong and easily made: a comparison without its edge, a join without its
time, a check that is always true. The near tests have to fail. One that survives says that a test is missing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("fraud_pipelines", "fraud_pipelines_tests", "tools", "docs", "data/mappings", "benchmarks")
FILES = ("pyproject.toml", "Makefile", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "mkdocs.yml")


@dataclass(frozen=True)
class Mutation:
    """A change of one place, and the tests that have to notice it.

    Attributes:
        name: what would be wrong.
        path: the file, below ``fraud_pipelines/``.
        before: what stands there; exactly once.
        after: what stands there instead.
        tests: what pytest is given, below ``fraud_pipelines_tests/``.
    """

    name: str
    path: str
    before: str
    after: str
    tests: tuple[str, ...]

    @property
    def file(self) -> Path:
        return Path("fraud_pipelines") / self.path

    def applied(self, text: str) -> str:
        """The text of the file with the mutation.

        Raises:
            ValueError: what it changes isn't there, or stands there more than once.
        """
        count = text.count(self.before)
        if count != 1:
            raise ValueError(f"{self.name}: {self.path} holds what it changes {count} times: {self.before!r}")
        return text.replace(self.before, self.after)


_SNAPSHOT = ("defs/test_snapshot.py",)
_CHECKS = ("defs/test_checks.py",)

MUTATIONS = (
    # Time windows, and joins on time.
    Mutation(
        "a history whose last day is at the edge of the look-back is lost",
        "features/tables.py",
        "WHERE event_date >= $first AND event_date < $end AND declaration = $declaration\n            GROUP BY",
        "WHERE event_date > $first AND event_date < $end AND declaration = $declaration\n            GROUP BY",
        ("features/test_derivation.py", "-k", "whenever"),
    ),
    Mutation(
        "a feature sees a label of the instant itself",
        "features/known_labels.py",
        "self.instant - max(delay, 1)",
        "self.instant - delay",
        ("features/test_known_labels.py",),
    ),
    Mutation(
        "the stream looks back without the label delay",
        "features/label_tables.py",
        '"oldest": begin - young,',
        '"oldest": begin,',
        ("features/test_label_tables.py",),
    ),
    Mutation(
        "labels as of a day include those of the next midnight",
        "storage/schema.sql",
        "AND known_at < instant",
        "AND known_at <= instant",
        ("decisions/test_labels.py",),
    ),
    # Thresholds, and what decides.
    Mutation(
        "a score at the block threshold blocks",
        "decisions/stages.py",
        "if score > block",
        "if score >= block",
        ("decisions/test_stages.py",),
    ),
    Mutation(
        "the screen stands above the review threshold",
        "decisions/stages.py",
        "return min(policy.screening_threshold, review_threshold)",
        "return max(policy.screening_threshold, review_threshold)",
        ("decisions/test_stages.py",),
    ),
    Mutation(
        "the last model explains what the first decided",
        "decisions/stages.py",
        "else versions[0]",
        "else versions[-1]",
        ("decisions/test_explain.py",),
    ),
    Mutation(
        "the stream's own threshold is dropped",
        "streaming/session.py",
        '{"screening_threshold": self.stream.detector.threshold}',
        "{}",
        ("streaming/test_session.py", "-k", "own_threshold"),
    ),
    Mutation(
        "a consumer keeps the rules of its first commit",
        "streaming/session.py",
        "            self._engines.clear()\n",
        "",
        ("streaming/test_session.py", "-k", "rules_that_change"),
    ),
    # Calibration.
    Mutation(
        "the tail is anchored at twice the share",
        "detection/calibration.py",
        "training_scores, contamination, excess)",
        "training_scores, 2 * contamination, excess)",
        ("detection/test_calibration.py",),
    ),
    # Label precedence, and what is learned from labels.
    Mutation(
        "a review outranks a chargeback",
        "storage/schema.sql",
        "{outranks: source = 'chargeback',",
        "{outranks: source = 'review',",
        ("decisions/test_labels.py",),
    ),
    Mutation(
        "an alert of two channels counts by its lower score",
        "storage/schema.sql",
        "SELECT transaction_id, max(d.score) AS score, any_value(l.actual_fraud)",
        "SELECT transaction_id, min(d.score) AS score, any_value(l.actual_fraud)",
        ("decisions/test_review.py", "-k", "two_channels"),
    ),
    # Promotion.
    Mutation(
        "either the scores or the alerts of two versions have to be alike",
        "evaluation/promotion_evidence.py",
        "psi <= most and alike(",
        "psi <= most or alike(",
        ("evaluation/test_stability.py",),
    ),
    Mutation(
        "a candidate that is surely worse is promoted",
        "evaluation/promotion_evidence.py",
        "return difference.low > -MARGIN and",
        "return difference.high > -MARGIN and",
        ("evaluation/test_promotion.py",),
    ),
    # Partition offsets.
    Mutation(
        "a model is trained on the day it scores",
        "defs/partitions.py",
        "training_window = dg.TimeWindowPartitionMapping(\n    start_offset=-SETTINGS.training_days, end_offset=-1",
        "training_window = dg.TimeWindowPartitionMapping(\n    start_offset=-SETTINGS.training_days, end_offset=0",
        _SNAPSHOT,
    ),
    Mutation(
        "performance is measured one day too early",
        "defs/partitions.py",
        "    end_offset=-SETTINGS.label_delay_days,",
        "    end_offset=-SETTINGS.label_delay_days + 1,",
        _SNAPSHOT,
    ),
    Mutation(
        "a day's features read the day before the day before",
        "defs/partitions.py",
        "    start_offset=-1, end_offset=-1,",
        "    start_offset=-2, end_offset=-2,",
        _SNAPSHOT,
    ),
    # Asset checks: each always true.
    *(
        Mutation(f"the check {check} of {path} is always true", f"defs/{path}/assets.py", before, after, _CHECKS)
        for path, check, before, after in (
            ("raw", "KEYS_ARE_SOUND", "                not defects,", "                True,"),
            ("raw", "DAY_IS_FRESH", "DAY_IS_FRESH, stale.is_empty()", "DAY_IS_FRESH, True"),
            ("features", "ROWS_ARE_COMPLETE", "ROWS_ARE_COMPLETE, rows == transactions", "ROWS_ARE_COMPLETE, True"),
            ("features", "KEYS_ARE_SOUND", "KEYS_ARE_SOUND, not defects", "KEYS_ARE_SOUND, True"),
            ("feedback", "KEYS_ARE_SOUND", "KEYS_ARE_SOUND, not defects", "KEYS_ARE_SOUND, True"),
            ("scoring", "SCORES_ARE_IN_RANGE", "outside.is_empty()", "True"),
            ("scoring", "SCORES_ARE_COMPLETE", "scored == scores.transactions and not defects", "True"),
            ("scoring", "DECISIONS_ARE_COMPLETE", "rows == transactions and not defects", "True"),
            ("models", "trained_on_earlier_days", "verdict(check, not trained.bootstrap)", "verdict(check, True)"),
            ("monitoring", "DRIFT_IS_SMALL", "DRIFT_IS_SMALL, shifted.is_empty()", "DRIFT_IS_SMALL, True"),
        )
    ),
    # The sensor, and the chain.
    Mutation(
        "a run that died holds up the stream for ever",
        "defs/sensors.py",
        "        updated_after=datetime.fromtimestamp(now - _LONGEST_RUN_SECONDS, UTC),\n",
        "",
        ("streaming/test_job.py", "-k", "under_way"),
    ),
    Mutation(
        "an entry's hash covers nothing of the entry before",
        "decisions/hash_chain.py",
        "(previous + text)",
        "(text)",
        ("decisions/test_audit.py",),
    ),
)


def copy_of_the_project(folder: Path) -> None:
    """Copy what tests need; with what numba has compiled, which is found by a file's time and size."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name)
    for name in FILES:
        shutil.copy2(ROOT / name, folder / name)


def is_caught(mutation: Mutation, folder: Path) -> bool:
    """Whether a test fails in the copy with the mutation, which is taken back."""
    file = folder / mutation.file
    original, stat = file.read_text(encoding="utf-8"), file.stat()
    first, *rest = mutation.tests
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "-W", "ignore"]
    try:
        file.write_text(mutation.applied(original), encoding="utf-8")
        done = subprocess.run(
            [*command, f"fraud_pipelines_tests/{first}", *rest],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder), "FRAUD_DATA_DIR": str(folder / "data")},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        file.write_text(original, encoding="utf-8")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    if done.returncode not in (0, 1):
        said = f"{done.stdout[-2000:]}{done.stderr[-500:]}"
        raise SystemExit(f"{mutation.name}: pytest ended with {done.returncode}\n{said}")
    return done.returncode == 1


def main() -> None:
    """Run the mutations that are asked for; ends with 1 if one survives."""
    parser = argparse.ArgumentParser(description="Break the code in the places that decide; a test has to notice.")
    parser.add_argument("words", nargs="*", help="only mutations whose name or file holds one of these")
    parser.add_argument("--list", action="store_true", help="list them, and run none")
    asked = parser.parse_args()
    chosen = [
        each for each in MUTATIONS if not asked.words or any(word in f"{each.name} {each.path}" for word in asked.words)
    ]
    if asked.list:
        sys.stdout.writelines(f"{each.path:40} {each.name}\n" for each in chosen)
        return
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy_of_the_project(Path(folder))
        for each in chosen:
            begun = time.monotonic()
            caught = is_caught(each, Path(folder))
            survived += not caught
            said = "caught" if caught else "SURVIVED"
            sys.stdout.write(f"{said:9}{time.monotonic() - begun:6.0f} s  {each.path}: {each.name}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} mutations, {survived} survived\n")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
