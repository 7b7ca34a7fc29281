-- The decided payments of a range of days by a cut and day, with the labels known before $known_before.
SELECT ({cut})::VARCHAR AS subject, d.event_date, count(*) AS payments, sum(t.amount) AS amount,
       count(*) FILTER (d.decision <> 'approve') AS alerts,
       count(*) FILTER (d.decision = 'block') AS blocks,
       count(l.actual_fraud) AS labelled
FROM scoring.decisions d
JOIN raw.transactions t USING (transaction_id, event_date)
LEFT JOIN feedback.reported_before($known_before::TIMESTAMP) l USING (transaction_id)
WHERE d.channel = 'batch' AND d.event_date BETWEEN $first AND $last
GROUP BY ALL
ORDER BY ALL
