-- The frauds known before $known_before among the decisions of a range of days.
SELECT d.event_date,
       t.user_id,
       t.amount,
       d.decision <> 'approve' AS alert,
       l.late
FROM feedback.reported_before($known_before::TIMESTAMP) l
JOIN scoring.decisions d USING (transaction_id)
JOIN raw.transactions t USING (transaction_id)
WHERE l.actual_fraud
  AND d.channel = $channel
  AND d.event_date BETWEEN $first AND $last
  AND t.event_date BETWEEN $first AND $last
ORDER BY d.event_date, t.user_id, t.amount
