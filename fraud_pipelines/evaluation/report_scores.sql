-- Scores of every model over a range of days with the labels known before $known_before. A card is left out from the
-- day its fraud would have been known: frauds of the training days, $delay days before the
-- first, for all days; and for day d those up to d - $delay - 1.
WITH labels AS (
    SELECT transaction_id, actual_fraud, late FROM feedback.reported_before($known_before::TIMESTAMP)
),
compromised AS (
    SELECT t.user_id, min(t.event_date) AS first_fraud
    FROM raw.payments t
    JOIN labels l USING (transaction_id)
    WHERE l.actual_fraud
      AND t.event_date >= $first::DATE - ($delay + $training_days)::INTEGER
    GROUP BY t.user_id
)
SELECT s.model_name,
       s.transaction_id,
       t.user_id,
       s.event_date,
       t.amount,
       s.score,
       s.raw_score,
       s.is_anomaly AS alert,
       coalesce(l.actual_fraud, false) AS is_fraud,
       l.actual_fraud IS NOT NULL AS labelled,
       coalesce(l.late, false) AS late
FROM scoring.transaction_scores s
JOIN raw.transactions t ON t.transaction_id = s.transaction_id AND t.event_date BETWEEN $first AND $last
LEFT JOIN labels l ON l.transaction_id = s.transaction_id
LEFT JOIN compromised c ON c.user_id = t.user_id
WHERE s.channel = $channel
  AND s.event_date BETWEEN $first AND $last
  AND (c.first_fraud IS NULL OR c.first_fraud > s.event_date - ($delay + 1)::INTEGER)
  AND feedback.has_outcome(t.judged_only, l.actual_fraud)
ORDER BY s.model_name, s.event_date, s.transaction_id
