-- What came of each event date by the labels known before $known_before. Payments are counted in raw:
-- a day that was taken in but not decided shows with nothing beside its number.
WITH counted AS (
    SELECT event_date, count(*) AS transactions
    FROM raw.payments
    WHERE event_date BETWEEN $first AND $last
    GROUP BY event_date
),
judged AS (
    SELECT d.event_date,
           count(*) FILTER (d.decision <> 'approve') AS alerts,
           count(*) FILTER (d.decision = 'block') AS blocked,
           count(*) FILTER (d.decision <> 'approve' AND l.actual_fraud IS NOT NULL) AS reviewed,
           count(l.actual_fraud) AS labelled,
           count(*) FILTER (l.actual_fraud) AS frauds,
           count(*) FILTER (l.actual_fraud AND d.decision <> 'approve') AS caught,
           max(d.review_threshold) AS review_threshold
    FROM scoring.decisions d
    LEFT JOIN feedback.reported_before($known_before::TIMESTAMP) l USING (transaction_id)
    WHERE d.channel = $channel
      AND d.event_date BETWEEN $first AND $last
    GROUP BY d.event_date
)
SELECT event_date,
       transactions,
       alerts,
       blocked,
       reviewed,
       frauds,
       caught,
       labelled,
       event_date <= $matured_until AS matured,
       review_threshold
FROM counted
LEFT JOIN judged USING (event_date)
ORDER BY event_date
