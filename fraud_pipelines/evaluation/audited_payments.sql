-- The payments that the audit sample drew on a range of days, with what was known before $known_before. Only a review
-- answers for one: a chargeback without one would answer for frauds alone. reported: whether it would be known as fraud
-- without the sample.
SELECT d.transaction_id,
       d.event_date,
       t.amount,
       {columns},
       d.audit_probability,
       CASE WHEN v.transaction_id IS NOT NULL THEN l.actual_fraud END AS is_fraud,
       coalesce(r.actual_fraud, false) AS reported
FROM scoring.decisions d
JOIN raw.transactions t ON t.transaction_id = d.transaction_id AND t.event_date = d.event_date
LEFT JOIN feedback.labels_between($first::TIMESTAMP, $known_before::TIMESTAMP) l ON l.transaction_id = d.transaction_id
LEFT JOIN feedback.reported_between($first::TIMESTAMP, $known_before::TIMESTAMP) r ON r.transaction_id = d.transaction_id
LEFT JOIN (
    SELECT DISTINCT transaction_id FROM feedback.label_history
    WHERE source = 'review' AND known_at >= $first::TIMESTAMP AND known_at < $known_before::TIMESTAMP
) v ON v.transaction_id = d.transaction_id
WHERE d.audited
  AND d.channel = $channel
  AND d.policy = $policy
  AND d.event_date BETWEEN $first AND $last
ORDER BY d.transaction_id
