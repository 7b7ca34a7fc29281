-- The days from $first to $last on which a rule or policy in shadow was asked of every payment, in the version it had
-- last, with what was decided, and what would have been, by the labels known before $known_before.
WITH latest AS (
    SELECT kind, name, channel, arg_max(version, {event_date: event_date, decided_at: decided_at}) AS version
    FROM scoring.shadow_days WHERE event_date BETWEEN $first AND $last
    GROUP BY ALL
),
decided AS (
    SELECT d.event_date, d.channel, count(*) AS payments, count(l.actual_fraud) AS labelled,
           count(*) FILTER (d.decision <> 'approve') AS alerts, count(*) FILTER (d.decision = 'block') AS blocks
    FROM scoring.decisions d
    LEFT JOIN feedback.reported_before($known_before::TIMESTAMP) l USING (transaction_id)
    WHERE d.event_date BETWEEN $first AND $last
      AND d.channel IN (SELECT channel FROM latest)
    GROUP BY ALL
),
changed AS (
    SELECT event_date, channel, kind, name, version,
           count(*) FILTER (kind = 'rule' OR decision <> 'approve') AS hits,
           count(*) FILTER (decision <> 'approve') - count(*) FILTER (in_force <> 'approve') AS more_alerts,
           count(*) FILTER (decision = 'block') - count(*) FILTER (in_force = 'block') AS more_blocks
    FROM scoring.shadow_decisions WHERE event_date BETWEEN $first AND $last
    GROUP BY ALL
)
SELECT kind, name, channel, version, event_date, d.payments, d.labelled, d.alerts, d.blocks,
       coalesce(c.hits, 0) AS hits,
       d.alerts + coalesce(c.more_alerts, 0) AS shadow_alerts,
       d.blocks + coalesce(c.more_blocks, 0) AS shadow_blocks
FROM scoring.shadow_days s
JOIN latest USING (kind, name, channel, version)
JOIN decided d USING (event_date, channel, payments)
LEFT JOIN changed c USING (event_date, channel, kind, name, version)
ORDER BY kind, name, channel, event_date
