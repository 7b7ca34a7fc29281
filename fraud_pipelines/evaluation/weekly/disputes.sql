-- By merchant and month: payments that were not blocked, and chargebacks of frauds that came in the month, as known
-- before $known_before. settled_before is of the month before; null where payments of it aren't stored from its start.
WITH settled AS (
    SELECT merchant_id, date_trunc('month', event_date)::DATE AS month, count(*) AS settled
    FROM raw.payments
    WHERE event_date BETWEEN $earliest AND $last
      AND transaction_id NOT IN (
          SELECT transaction_id FROM scoring.decisions
          WHERE decision = 'block' AND event_date BETWEEN $earliest AND $last
      )
    GROUP BY ALL
),
disputed AS (
    SELECT t.merchant_id, date_trunc('month', l.known_at)::DATE AS month, count(DISTINCT transaction_id) AS disputes
    FROM feedback.label_history l
    JOIN raw.payments t USING (transaction_id)
    WHERE l.source = 'chargeback' AND l.actual_fraud
      AND l.known_at >= $first::TIMESTAMP AND l.known_at < $known_before::TIMESTAMP
    GROUP BY ALL
)
SELECT merchant_id, month, disputes, coalesce(s.settled, 0) AS settled,
       CASE WHEN (SELECT min(event_date) FROM raw.payments) <= month - INTERVAL 1 MONTH
            THEN coalesce(b.settled, 0)
       END AS settled_before
FROM disputed
LEFT JOIN settled s USING (merchant_id, month)
LEFT JOIN (
    SELECT merchant_id, (month + INTERVAL 1 MONTH)::DATE AS month, settled FROM settled
) b USING (merchant_id, month)
WHERE merchant_id IS NOT NULL
ORDER BY disputes DESC, month DESC, merchant_id
LIMIT $most
