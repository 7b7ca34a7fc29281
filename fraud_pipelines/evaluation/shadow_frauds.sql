-- The frauds known before $known_before on the days of each rule and policy in shadow: whether they were alerted, and
-- whether they would have been.
WITH frauds AS (
    SELECT d.transaction_id, d.event_date, d.channel, d.decision, t.user_id, t.amount, l.late
    FROM feedback.reported_before($known_before::TIMESTAMP) l
    JOIN scoring.decisions d USING (transaction_id)
    JOIN raw.transactions t USING (transaction_id, event_date)
    WHERE l.actual_fraud
      AND d.event_date BETWEEN $first AND $last
)
SELECT s.kind, s.name, channel, s.version, event_date, f.user_id, f.amount, f.late,
       f.decision <> 'approve' AS alert,
       coalesce(x.decision, f.decision) <> 'approve' AS shadow_alert
FROM frauds f
JOIN scoring.shadow_days s USING (event_date, channel)
LEFT JOIN scoring.shadow_decisions x USING (transaction_id, event_date, channel, kind, name, version)
ORDER BY s.kind, s.name, channel, event_date, f.user_id, f.amount
