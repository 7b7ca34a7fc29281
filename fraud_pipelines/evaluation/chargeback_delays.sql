-- Frauds that a bank reported before $known_before, by day of the payment and day of the first report.
WITH reported AS (
    SELECT transaction_id, min(known_at) AS known_at
    FROM feedback.label_history
    WHERE source = 'chargeback'
      AND actual_fraud
      AND known_at >= $first::TIMESTAMP
      AND known_at < $known_before::TIMESTAMP
    GROUP BY transaction_id
)
SELECT t.event_date, r.known_at::DATE AS known_on, count(*) AS chargebacks
FROM reported r
JOIN raw.payments t USING (transaction_id)
WHERE t.event_date BETWEEN $first AND $last
GROUP BY ALL
ORDER BY ALL
