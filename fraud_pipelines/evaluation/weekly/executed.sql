-- The payments of a range of days that were not blocked, by day, and the value of the frauds known among them.
WITH executed AS (
    SELECT transaction_id, event_date, amount FROM raw.payments
    WHERE event_date BETWEEN $first AND $last
      AND transaction_id NOT IN (
          SELECT transaction_id FROM scoring.decisions
          WHERE decision = 'block' AND event_date BETWEEN $first AND $last
      )
)
SELECT event_date, count(*) AS payments, sum(amount) AS amount,
       coalesce(list(amount ORDER BY transaction_id) FILTER (l.actual_fraud AND NOT l.late), []) AS frauds,
       coalesce(list(amount ORDER BY transaction_id) FILTER (l.actual_fraud AND l.late), []) AS late_frauds
FROM executed
LEFT JOIN feedback.reported_before($known_before::TIMESTAMP) l USING (transaction_id)
GROUP BY event_date
ORDER BY event_date
