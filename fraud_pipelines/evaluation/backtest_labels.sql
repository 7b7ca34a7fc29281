-- The decided payments of a range of days that have a label now, and whether it called them frauds then.
SELECT t.transaction_id, t.event_date, t.amount, l.actual_fraud AS is_fraud, l.late,
       coalesce(known.actual_fraud, false) AS "then"
FROM feedback.reported_before($now::TIMESTAMP) l
JOIN raw.payments t USING (transaction_id)
LEFT JOIN feedback.reported_before($then::TIMESTAMP) known USING (transaction_id)
WHERE t.event_date BETWEEN $first AND $last
  AND transaction_id IN (
      SELECT transaction_id FROM scoring.decisions WHERE channel = $channel AND event_date BETWEEN $first AND $last
  )
ORDER BY t.transaction_id
