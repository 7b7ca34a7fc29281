-- Both stages' scores of the latest decisions, labelled or not: what the alert volume is read from.
SELECT d.transaction_id,
       d.event_date,
       d.decision,
       d.reason,
       {columns},
       d.score,
       s.screening_score,
       s.second_stage_score
FROM scoring.decisions d
JOIN raw.transactions t ON t.transaction_id = d.transaction_id AND t.event_date BETWEEN $first AND $last
LEFT JOIN scoring.stage_scores($channel, $first, $last, $screening_model, $second_stage, $ensemble_model) s
       ON s.transaction_id = d.transaction_id AND s.event_date = d.event_date
WHERE d.channel = $channel
  AND d.event_date BETWEEN $first AND $last
  AND ($policy IS NULL OR d.policy = $policy)
ORDER BY d.event_date, d.transaction_id
