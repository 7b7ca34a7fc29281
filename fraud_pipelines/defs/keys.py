"""Asset keys: `[layer, noun]`, so that `scoring/decisions` in the UI is `scoring.decisions` in SQL. Tags of runs."""

from dagster import AssetKey

TRANSACTIONS = AssetKey(["raw", "transactions"])
TRANSACTION_FEATURES = AssetKey(["features", "transaction_features"])
ISOLATION_FOREST = AssetKey(["models", "isolation_forest"])
SUOD = AssetKey(["models", "suod"])
TRANSACTION_SCORES = AssetKey(["scoring", "transaction_scores"])
DECISIONS = AssetKey(["scoring", "decisions"])
LABELS = AssetKey(["feedback", "labels"])
DECISION_OUTCOMES = AssetKey(["feedback", "decision_outcomes"])
MODEL_PERFORMANCE = AssetKey(["monitoring", "model_performance"])
DECISION_THRESHOLDS = AssetKey(["monitoring", "decision_thresholds"])
FEATURE_DRIFT = AssetKey(["monitoring", "feature_drift"])
WEEKLY_FIGURES = AssetKey(["monitoring", "weekly_figures"])
ALERTS = AssetKey(["monitoring", "alerts"])
PROCESSED_BATCHES = AssetKey(["streaming", "processed_batches"])
STREAM_AGREEMENT = AssetKey(["streaming", "stream_agreement"])
ECOD = AssetKey(["models", "ecod"])
AUTOENCODER = AssetKey(["models", "autoencoder"])
SUPERVISED = AssetKey(["models", "supervised"])
MODEL_PROMOTION = AssetKey(["models", "model_promotion"])

COMMAND_TAG = "fraud_pipelines/command"
"""Says which command in the shell executes the run."""
