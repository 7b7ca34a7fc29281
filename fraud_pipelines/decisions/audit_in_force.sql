-- Decisions in force that are not the last entry of the log on their transaction and channel, with what is wrong.
WITH last_entries AS (
    SELECT * FROM scoring.decision_revisions
    QUALIFY row_number() OVER (PARTITION BY transaction_id, channel ORDER BY revision DESC, sequence DESC) = 1
),
logged AS (
    FROM last_entries WHERE action = 'decided'
),
in_force AS (
    SELECT *, count(*) OVER (PARTITION BY transaction_id, channel) AS times FROM scoring.decisions
)
SELECT DISTINCT transaction_id, channel,
       CASE WHEN d.decision IS NULL THEN 'is in the log, and not in scoring.decisions'
            WHEN l.decision IS NULL THEN 'is in scoring.decisions, and no entry of the log says so'
            WHEN d.times > 1 THEN 'stands more than once in scoring.decisions'
            ELSE 'is another in scoring.decisions than in the log'
       END AS fault
FROM logged l FULL JOIN in_force d USING (transaction_id, channel)
WHERE d.times IS DISTINCT FROM 1
   OR (l.event_date, l.decision, l.score, l.reason, l.reason_codes, l.policy, l.review_threshold,
       l.block_threshold, l.model_versions, l.decided_at, l.audited, l.audit_probability)
      IS DISTINCT FROM
      (d.event_date, d.decision, d.score, d.reason, d.reason_codes, d.policy, d.review_threshold,
       d.block_threshold, d.model_versions, d.decided_at, d.audited, d.audit_probability)
ORDER BY ALL
