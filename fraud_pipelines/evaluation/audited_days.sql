-- What a policy approved on each day of a range; sampled: of these, those of a day on which an audit sample was drawn.
SELECT d.event_date,
       count(*) AS payments,
       CASE WHEN count(d.audit_probability) > 0 THEN count(*) ELSE 0 END AS sampled,
       sum(t.amount) AS amount
FROM scoring.decisions d
JOIN raw.transactions t ON t.transaction_id = d.transaction_id AND t.event_date = d.event_date
WHERE d.decision = 'approve'
  AND d.channel = $channel
  AND d.policy = $policy
  AND d.event_date BETWEEN $first AND $last
  AND t.event_date BETWEEN $first AND $last
GROUP BY d.event_date
ORDER BY d.event_date
