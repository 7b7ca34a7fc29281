-- Payments sent to review and without any label when $known_before began, by the age of their day.
SELECT CASE WHEN age <= 1 THEN 'up to 1 day' WHEN age <= 3 THEN '2 to 3 days' WHEN age <= 7 THEN '4 to 7 days'
            ELSE 'over 7 days' END AS age,
       count(*) AS waiting, sum(amount) AS amount, min(age) AS youngest
FROM (
    SELECT t.transaction_id, t.amount, $known_before::DATE - t.event_date AS age
    FROM raw.transactions t
    WHERE t.event_date BETWEEN $oldest AND $last
      AND transaction_id IN (
          SELECT transaction_id FROM scoring.decisions
          WHERE event_date BETWEEN $oldest AND $last AND (decision <> 'approve' OR audited)
      )
      AND transaction_id NOT IN (SELECT transaction_id FROM feedback.labels_before($known_before::TIMESTAMP))
)
GROUP BY 1
ORDER BY youngest
