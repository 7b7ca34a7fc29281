-- Labels that became known in one day, beside the decisions they judge; a label without a decision gives no row.
SELECT $day::DATE AS outcome_date,
       d.transaction_id,
       d.channel,
       d.event_date,
       d.decision,
       d.score,
       l.source,
       l.actual_fraud,
       feedback.is_correct(d.decision, l.actual_fraud) AS correct,
       l.known_at
FROM feedback.label_history l
JOIN scoring.decisions d USING (transaction_id)
WHERE l.known_at >= $day::TIMESTAMP
  AND l.known_at < $known_before::TIMESTAMP
  AND d.event_date <= $day
ORDER BY d.transaction_id, d.channel, l.source
