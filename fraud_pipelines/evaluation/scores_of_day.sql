-- The scores that one model gave the payments of a day.
SELECT s.event_date, t.user_id, s.score, s.raw_score, s.is_anomaly AS alert, s.model_version
FROM scoring.transaction_scores s
JOIN raw.transactions t ON t.transaction_id = s.transaction_id AND t.event_date = $event_date
WHERE s.event_date = $event_date
  AND s.model_name = $model_name
  AND s.channel = $channel
