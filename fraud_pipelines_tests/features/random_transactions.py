"""Random transactions for property tests: few users, crowded instants, long gaps, awkward amounts."""

from datetime import datetime, timedelta

import polars as pl
from hypothesis import strategies as st

from fraud_pipelines.transactions.schema import FURTHER_COLUMNS, LABEL_COLUMNS, LABEL_SOURCES, TRANSACTION_COLUMNS
from fraud_pipelines_tests.features.oracle import Label, Transaction

START = datetime(2026, 3, 1)

_steps = st.one_of(
    st.just(timedelta(0)),
    st.sampled_from([timedelta(hours=1), timedelta(hours=24), timedelta(days=7), timedelta(days=14)]),
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(minutes=90)),
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=20)),
)
_amounts = st.one_of(
    st.sampled_from([0.0, -0.0, 0.01, 1.0, 9.99, 10.0, 1e7]),
    st.integers(min_value=1, max_value=30_000).map(lambda cents: cents / 100),
)


@st.composite
def transactions(draw: st.DrawFn, *, max_size: int = 90) -> list[Transaction]:
    """Up to ``max_size`` transactions in order (timestamp, transaction_id) of up to four users."""
    users = draw(st.integers(min_value=1, max_value=4))
    judged_only = draw(st.sampled_from([[False], [True, False]]))
    moment = START
    rows: list[Transaction] = []
    ids = draw(st.permutations(range(draw(st.integers(min_value=1, max_value=max_size)))))
    for number in ids:
        moment += draw(_steps)
        rows.append(
            {
                "transaction_id": f"t{number:03d}",
                "user_id": f"u{draw(st.integers(min_value=1, max_value=users))}",
                "timestamp": moment,
                "amount": draw(_amounts),
                "merchant_id": draw(st.sampled_from(["m1", "m2", None])),
                "device_fingerprint": draw(st.sampled_from(["d1", "d2", None])),
                "country": draw(st.sampled_from(["DE", "FR", None])),
                "judged_only": draw(st.sampled_from(judged_only)),
            }
        )
    return sorted(rows, key=lambda row: (row["timestamp"], row["transaction_id"]))


@st.composite
def labels(draw: st.DrawFn, rows: list[Transaction]) -> list[Label]:
    """Reviews and chargebacks of some of ``rows``, each known at once, soon, or late; the two may disagree, and each
    may be corrected later."""
    found: list[Label] = []
    waits = st.sampled_from([timedelta(0), timedelta(hours=3), timedelta(days=7), timedelta(days=11)])
    for row in rows:
        for source in draw(st.sets(st.sampled_from(LABEL_SOURCES))):
            fraud, known_at = draw(st.booleans()), row["timestamp"] + draw(waits)
            for correction in range(draw(st.integers(1, 2))):
                found.append(
                    {
                        "transaction_id": row["transaction_id"],
                        "actual_fraud": fraud != bool(correction),
                        "source": source,
                        "known_at": known_at + correction * (draw(waits) + timedelta(minutes=1)),
                    }
                )
    return found


def label_frame(found: list[Label]) -> pl.DataFrame:
    """Labels with the types of ``feedback.labels``."""
    return pl.DataFrame(found, schema=LABEL_COLUMNS)


_JUDGED_ONLY = {"judged_only": FURTHER_COLUMNS["judged_only"]}


def frame(rows: list[Transaction]) -> pl.DataFrame:
    """Rows with the types of ``raw.transactions``; columns that the rows lack are null."""
    known = pl.DataFrame(rows, schema=list(Transaction.__annotations__), infer_schema_length=None, orient="row")
    return known.select(
        (pl.col(name) if name in known.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in (TRANSACTION_COLUMNS | _JUDGED_ONLY).items()
    )
