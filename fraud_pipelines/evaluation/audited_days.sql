-- What a policy approved on each day of a range, and of the probabilities with which the audit sample might draw it the
-- sums that intervals need.
SELECT d.event_date,
       count(*) AS payments,
       count(d.audit_probability) AS sampled,
       coalesce(sum(d.audit_probability ** 2), 0) AS squares,
       coalesce(sum(d.audit_probability ** 3), 0) AS cubes,
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
