-- Scores of one model whose labels have had time to arrive, with what was known before $known_before.
SELECT s.transaction_id,
       t.user_id,
       s.event_date,
       t.amount,
       s.score,
       s.raw_score,
       s.model_version,
       s.is_anomaly AS alert,
       coalesce(l.actual_fraud, false) AS is_fraud,
       l.actual_fraud IS NOT NULL AS labelled,
       coalesce(l.late, false) AS late
FROM scoring.transaction_scores s
JOIN raw.transactions t ON t.transaction_id = s.transaction_id AND t.event_date BETWEEN $first AND $last
LEFT JOIN feedback.reported_before($known_before::TIMESTAMP) l ON l.transaction_id = s.transaction_id
WHERE s.model_name = $model_name
  AND s.channel = $channel
  AND s.event_date BETWEEN $first AND $last
  AND feedback.has_outcome(t.judged_only, l.actual_fraud)
ORDER BY s.event_date, s.transaction_id
