-- What tells whether a summary still fits its day: the number of payments, and the sum of the hashes of what it is made
-- from. By exclusive or, equal values would cancel out in pairs. A payment of which only a verdict tells the outcome is
-- left out until it has one.
WITH unjudged AS (
    SELECT event_date, count(*) AS payments, sum(hash(transaction_id)::HUGEINT) AS content
    FROM feedback.unjudged($first, $last, $known_before::TIMESTAMP)
    GROUP BY event_date
),
scores AS (
    SELECT event_date, model_name, channel, count(*) AS payments, sum(hash(hash(score, raw_score))::HUGEINT) AS content
    FROM scoring.transaction_scores
    WHERE event_date BETWEEN $first AND $last
      AND ($policy IS NOT NULL OR $models IS NULL OR list_contains($models, model_name))
    GROUP BY ALL
),
of_channel AS (
    SELECT event_date, channel, sum(content) AS content FROM scores GROUP BY ALL
),
decisions AS (
    SELECT event_date, channel, count(*) AS payments, sum(hash(score)::HUGEINT) AS content,
           count(*) FILTER (decision <> 'approve') AS alerts
    FROM scoring.decisions
    WHERE policy = $policy
      AND event_date BETWEEN $first AND $last
    GROUP BY ALL
),
amounts AS (
    SELECT event_date, count(*) AS payments, sum(hash(amount)::HUGEINT) AS content
    FROM raw.payments
    WHERE event_date BETWEEN $first AND $last
    GROUP BY ALL
)
SELECT s.event_date, model_name, channel, concat_ws(':', s.payments, s.content, u.content) AS token
FROM scores s
LEFT JOIN unjudged u USING (event_date)
WHERE s.payments > coalesce(u.payments, 0)
  AND ($models IS NULL OR list_contains($models, model_name))
UNION ALL
SELECT d.event_date, $prefix || $policy, d.channel, concat_ws(':', d.payments, d.alerts, d.content, s.content, md5($settings), u.content)
FROM decisions d
LEFT JOIN of_channel s USING (event_date, channel)
LEFT JOIN unjudged u USING (event_date)
WHERE d.payments > coalesce(u.payments, 0)
UNION ALL
SELECT a.event_date, $amount, $batch, concat_ws(':', a.payments, a.content, u.content)
FROM amounts a
SEMI JOIN (FROM scores WHERE channel = $batch) s USING (event_date)
LEFT JOIN unjudged u USING (event_date)
WHERE a.payments > coalesce(u.payments, 0)
  AND $models IS NULL
