-- Verdicts of reviewers that came in a range of time on payments that were decided, and how long each had waited: since
-- the decision, or, where that was made anew later, since the payment's day was over.
SELECT coalesce(l.reviewer, 'not named') AS reviewer, l.actual_fraud,
       greatest(date_diff('second', least(d.decided_at, d.event_date + INTERVAL 1 DAY), l.known_at), 0) / 3600 AS hours
FROM feedback.label_history l
JOIN (
    SELECT transaction_id, any_value(event_date) AS event_date, min(decided_at) AS decided_at FROM scoring.decisions
    WHERE event_date >= $oldest GROUP BY transaction_id
) d USING (transaction_id)
WHERE l.source = 'review' AND l.known_at >= $first::TIMESTAMP AND l.known_at < $known_before::TIMESTAMP
ORDER BY ALL
