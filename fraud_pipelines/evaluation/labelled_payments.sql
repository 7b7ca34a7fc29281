-- The payments of a range of days that had a label before $known_before.
SELECT t.transaction_id,
       t.event_date,
       t.user_id,
       t.amount,
       {columns},
       l.actual_fraud AS is_fraud,
       l.late
FROM feedback.reported_between($first::TIMESTAMP, $known_before::TIMESTAMP) l
JOIN raw.payments t USING (transaction_id)
WHERE t.event_date BETWEEN $first AND $last
ORDER BY t.transaction_id
