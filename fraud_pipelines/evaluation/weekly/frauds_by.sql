-- The frauds known before $known_before among the payments decided on a range of days, by a cut.
SELECT ({cut})::VARCHAR AS subject, d.event_date, t.user_id, t.amount, d.decision <> 'approve' AS alert, l.late
FROM feedback.reported_before($known_before::TIMESTAMP) l
JOIN scoring.decisions d USING (transaction_id)
JOIN raw.transactions t USING (transaction_id, event_date)
LEFT JOIN (
    SELECT transaction_id, arg_max(scenario, known_at) AS scenario FROM feedback.label_history
    WHERE actual_fraud AND scenario IS NOT NULL AND known_at < $known_before::TIMESTAMP
    GROUP BY transaction_id
) AS told USING (transaction_id)
WHERE l.actual_fraud
  AND d.channel = 'batch' AND d.event_date BETWEEN $first AND $last
ORDER BY ALL
