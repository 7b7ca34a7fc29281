-- Frauds of each event date by the labels known before $known_before; a day without one gives no row.
SELECT t.event_date, count(*) AS frauds
FROM feedback.reported_before($known_before::TIMESTAMP) l
JOIN raw.payments t USING (transaction_id)
WHERE l.actual_fraud
  AND t.event_date BETWEEN $first AND $last
GROUP BY t.event_date
ORDER BY t.event_date
