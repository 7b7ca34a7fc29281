-- The transactions of a range of days that have features, with what is known of them now.
SELECT t.transaction_id,
       t.user_id,
       t.event_date,
       coalesce(l.actual_fraud, false) AS is_fraud,
       l.actual_fraud IS NOT NULL AS labelled,
       coalesce(l.late, false) AS late
FROM raw.transactions t
SEMI JOIN features.transaction_features f ON f.transaction_id = t.transaction_id AND f.event_date = t.event_date
LEFT JOIN feedback.reported_before(TIMESTAMP '9999-12-31') l ON l.transaction_id = t.transaction_id
WHERE t.event_date BETWEEN $first AND $last
  AND feedback.has_outcome(t.judged_only, l.actual_fraud)
ORDER BY t.event_date, t.transaction_id
