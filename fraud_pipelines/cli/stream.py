"""``fraud-pipelines stream-demo`` and ``stream-load``: the stream live in the terminal, and traffic to try it with."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from fraud_pipelines.cli.terminal import terminal
from fraud_pipelines.logs import is_json, log_event
from fraud_pipelines.settings import Settings

console = terminal(highlight=False)

TRANSACTIONS: Final = 200
FRAUD_SHARE: Final = 0.02
_USERS: Final = 20
_CATEGORIES: Final = ("grocery", "gas", "restaurant", "retail", "online")
_DEVICES: Final = ("mobile", "desktop", "tablet")


@dataclass(frozen=True)
class DemoTransaction:
    """A made-up transaction, and what only its maker knows."""

    columns: dict[str, object]
    is_fraud: bool


def run_stream_demo(*, transactions: int, rate: float, seed: int | None) -> None:
    """The tutorial's complete example: simulated transactions are screened one by one, with a line for what matters.

    Everything is in memory; no data directory is needed.

    Args:
        transactions: how many.
        rate: transactions a second; 0 for as fast as it goes.
        seed: the same seed gives the same transactions.
    """
    from fraud_pipelines.decisions.engine import DecisionEngine
    from fraud_pipelines.decisions.policies import POLICIES, initial_thresholds
    from fraud_pipelines.features.live import LiveHistories
    from fraud_pipelines.streaming.detector import StreamDetector
    from fraud_pipelines.streaming.screener import Screener
    from fraud_pipelines.streaming.settings import DetectorSettings

    settings = DetectorSettings(
        min_samples=50, retrain_interval=100, window_size=500, threshold=0.5, contamination=0.02
    )
    policy = POLICIES["balanced"].model_copy(update={"screening_threshold": settings.threshold})
    screener = Screener(
        LiveHistories(),
        StreamDetector(settings),
        lambda day: DecisionEngine(policy, initial_thresholds(policy, day)),
    )
    console.print("💳 Starting Fraud Detection Demo")
    console.print(
        f"It collects {settings.min_samples} transactions, then scores each by what it has learned so far.\n"
        f"A score above {settings.threshold}: among the riskiest {settings.contamination:.0%} of that, so flagged; the "
        "nearer to 1, the rarer."
    )
    console.print("-" * 50)
    frauds = flagged = caught = unseen = 0
    took: list[float] = []
    for number, payment in enumerate(_paced(demo_transactions(transactions, seed), rate), start=1):
        begun = time.perf_counter()
        screened = screener.screen_one(payment.columns)
        took.append(time.perf_counter() - begun)
        frauds += payment.is_fraud
        what = f"${payment.columns['amount']:.2f} @ {payment.columns['merchant_category']}"
        if screened.status == "collecting":
            unseen += payment.is_fraud
            if number % 10 == 0:
                console.print(f"⏳ Collecting: {screened.samples_until_ready} to go")
        elif screened.is_anomaly:
            flagged += 1
            caught += payment.is_fraud
            verdict = "✅ TRUE POSITIVE" if payment.is_fraud else "⚠️ FALSE POSITIVE"
            why = f": {'; '.join(screened.reason_codes)}" if screened.reason_codes else ""
            console.print(
                f"🚨 Flagged tx #{number}: {what} | score={screened.score:.3f} | {verdict} | {screened.decision}{why}"
            )
        elif payment.is_fraud:
            console.print(f"❌ MISSED FRAUD: {what} | score={screened.score:.3f}")
    console.print("-" * 50)
    console.print(
        f"Summary: {transactions} transactions, {frauds} actual fraud, {flagged} flagged, {caught} of them fraud; "
        f"{frauds - caught - unseen} missed, {unseen} came while collecting"
    )
    console.print(f"Median time to screen one: {sorted(took)[len(took) // 2] * 1e3:.1f} ms")


def demo_transactions(count: int, seed: int | None) -> Iterator[DemoTransaction]:
    """The tutorial's traffic, spread over a few users: log-normal amounts, and a few frauds that are far too large."""
    dice = random.Random(seed)
    begun = datetime.now(UTC).replace(tzinfo=None)
    for number in range(count):
        is_fraud = dice.random() < FRAUD_SHARE
        yield DemoTransaction(
            {
                "transaction_id": f"demo-{number + 1:06}",
                "user_id": f"user-{dice.randrange(_USERS):02}",
                "timestamp": begun + timedelta(seconds=number),
                "amount": dice.uniform(1_000, 5_000) if is_fraud else dice.lognormvariate(3, 1),
                "merchant_category": "electronics" if is_fraud else dice.choice(_CATEGORIES),
                "device_type": dice.choice(_DEVICES),
            },
            is_fraud,
        )


def run_stream_load(settings: Settings, *, rate: int, seconds: int | None, users: int, seed: int) -> None:
    """Play simulated traffic into the stream's landing zone: every second a file with as many transactions as asked.

    Args:
        rate: transactions a second.
        seconds: for how long; None until interrupted.
        users: among how many users.
        seed: another one gives other transactions.
    """
    folder = settings.landing_stream
    folder.mkdir(parents=True, exist_ok=True)
    length = f"for {seconds} seconds" if seconds else "until you press Ctrl-C"
    console.print(f"{rate:,} transactions a second {length} into {folder}")
    written = 0
    try:
        for rows in _seconds(_traffic(rate, users, seed), rate, seconds):
            name = f"load-{rows['timestamp'][0]:%Y%m%dT%H%M%S%f}.jsonl"
            rows.write_ndjson(folder / f"{name}.part", check_extension=False)
            (folder / f"{name}.part").rename(folder / name)
            written += rows.height
    except KeyboardInterrupt:
        console.print("Stopped.")
    console.print(
        f"{written:,} transactions written. transaction_stream_sensor picks them up while fraud-pipelines up runs."
    )


def run_stream_consume(settings: Settings, *, once: bool) -> None:
    """Screen what a Kafka topic delivers, with a line for each commit that held something.

    Raises:
        InvalidInput: the topic isn't named.
        MissingData: the broker can't be reached, or the client isn't installed.
    """
    from fraud_pipelines.bootstrap import live_warehouse, prepare, publication_of
    from fraud_pipelines.storage.model_registry import ModelRegistry
    from fraud_pipelines.streaming.kafka import KafkaSource, consume
    from fraud_pipelines.streaming.session import StreamSession
    from fraud_pipelines.streaming.settings import KafkaSettings, StreamSettings
    from fraud_pipelines.streaming.watched import Watched
    from fraud_pipelines.transactions.mapping import ColumnMapping

    topic = KafkaSettings.from_environment()
    prepare(settings)
    warehouse, publication = live_warehouse(settings), publication_of(settings)
    registry = ModelRegistry(settings.tracking_uri, artifact_root=settings.artifact_root)
    stream, watched = StreamSettings.from_environment(), Watched()
    session = StreamSession(warehouse, registry, settings, stream)
    with (
        _stopped_by_sigterm(),
        nullcontext() if stream.metrics_port is None else watched.told(stream.metrics_host, stream.metrics_port),
        KafkaSource(topic, warehouse, mapping=ColumnMapping.identity(session.attributes)) as source,
    ):
        console.print(f"Reading {topic.topic} at {topic.brokers}")
        try:
            while True:
                reports = consume(session, source, clock=_utc_now, wait_seconds=5.0 if once else 0.5)
                watched.polled(reports)
                if reports:
                    decided, rejected = (sum(getattr(each, n) for each in reports) for n in ("decided", "rejected"))
                    reasons = sum((Counter(each.rejected_by_reason) for each in reports), Counter[str]())
                    why = "".join(f"; {count:,}: {reason}" for reason, count in reasons.most_common())
                    if is_json():
                        log_event("committed", decided=decided, rejected=rejected, rejected_by_reason=reasons)
                    else:
                        console.print(f"{_utc_now():%H:%M:%S} {decided:,} decided, {rejected:,} rejected{why}")
                elif once:
                    break
                publication.publish_if_due()
        except KeyboardInterrupt:
            console.print("Stopped.")


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, by which containers and services are stopped, do what Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _traffic(rate: int, users: int, seed: int) -> Iterator[pl.DataFrame]:
    """Simulated days, one after the other, whose ids no other load shares."""
    from fraud_pipelines.cli.simulation import simulation_config
    from fraud_pipelines.transactions.simulator import simulate_days

    begun = datetime.now(UTC)
    config = simulation_config(
        first_day=begun.date(), days=3_660, users=users, transactions_per_day=max(60 * rate, 3_000), seed=seed
    )
    for number, day in enumerate(simulate_days(config)):
        prefix = f"{begun:%Y%m%dT%H%M%S}-{number}-"
        yield day.transactions.with_columns(transaction_id=prefix + pl.col("transaction_id"))


def _seconds(traffic: Iterator[pl.DataFrame], rate: int, seconds: int | None) -> Iterator[pl.DataFrame]:
    """``rate`` transactions at the end of each second, which happened in the course of it."""
    waiting = pl.DataFrame()
    begun = time.time()
    second = 0
    while seconds is None or second < seconds:
        while waiting.height < rate:
            more = next(traffic)
            waiting = pl.concat([waiting, more]) if waiting.height else more
        second += 1
        time.sleep(max(begun + second - time.time(), 0.0))
        first = datetime.fromtimestamp(begun + second - 1, UTC).replace(tzinfo=None)
        happened = [first + timedelta(seconds=k / rate) for k in range(rate)]
        yield waiting.head(rate).with_columns(timestamp=pl.Series(happened, dtype=pl.Datetime("us")))
        waiting = waiting.slice(rate)


def _paced(payments: Iterator[DemoTransaction], rate: float) -> Iterator[DemoTransaction]:
    for each in payments:
        yield each
        if rate:
            time.sleep(1 / rate)
