-- The scores that one model gave the payments of a day whose outcome may be known before $known_before.
SELECT s.event_date, t.user_id, s.score, s.raw_score, s.is_anomaly AS alert, s.model_version
FROM scoring.transaction_scores s
JOIN raw.transactions t ON t.transaction_id = s.transaction_id AND t.event_date = $event_date
WHERE s.event_date = $event_date
  AND s.transaction_id NOT IN (
      SELECT transaction_id FROM feedback.unjudged($event_date, $event_date, $known_before::TIMESTAMP)
  )
  AND s.model_name = $model_name
  AND s.channel = $channel
