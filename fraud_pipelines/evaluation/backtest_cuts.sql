-- The days of a range whose alerts were cut, and the last alert that the models had.
SELECT event_date,
       any_value((content ->> '$.alert_cut.score')::DOUBLE) AS cut_score,
       any_value(content ->> '$.alert_cut.transaction_id') AS cut_transaction_id
FROM (
    SELECT event_date, arg_max(thresholds_hash, sequence) AS hash
    FROM scoring.decision_revisions
    WHERE channel = $channel AND event_date BETWEEN $first AND $last AND thresholds_hash IS NOT NULL
    GROUP BY event_date
)
JOIN scoring.policy_versions USING (hash)
WHERE kind = 'thresholds' AND content ->> '$.alert_cut.score' IS NOT NULL
GROUP BY event_date
