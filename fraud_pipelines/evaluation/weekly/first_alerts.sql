-- Each entity with a fraud known before $known_before among the payments of a range of days: when its first fraud was,
-- when the first alert from then on, and what frauds lay between.
WITH payments AS (
    SELECT t.{entity} AS entity, t."timestamp", t.amount, d.decision <> 'approve' AS alert,
           coalesce(l.actual_fraud, false) AS fraud
    FROM scoring.decisions d
    JOIN raw.transactions t USING (transaction_id, event_date)
    LEFT JOIN feedback.reported_before($known_before::TIMESTAMP) l USING (transaction_id)
    WHERE d.channel = 'batch' AND d.event_date BETWEEN $first AND $last AND t.{entity} IS NOT NULL
),
firsts AS (SELECT entity, min("timestamp") AS first_fraud FROM payments WHERE fraud GROUP BY entity),
alerts AS (
    SELECT entity, min("timestamp") AS first_alert
    FROM payments JOIN firsts USING (entity)
    WHERE alert AND "timestamp" >= first_fraud
    GROUP BY entity
)
SELECT entity, date_diff('second', first_fraud, first_alert) / 3600 AS hours,
       count(*) FILTER (first_alert IS NULL OR "timestamp" < first_alert) AS frauds_before,
       coalesce(sum(amount) FILTER (first_alert IS NULL OR "timestamp" < first_alert), 0) AS value_before
FROM payments
JOIN firsts USING (entity)
LEFT JOIN alerts USING (entity)
WHERE fraud
GROUP BY entity, first_fraud, first_alert
ORDER BY entity
