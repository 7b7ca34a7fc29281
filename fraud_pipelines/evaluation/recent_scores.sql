-- Both stages' scores of the latest decisions, labelled or not: what the alert volume is read from.
SELECT d.transaction_id,
       d.event_date,
       d.decision,
       d.reason,
       t.merchant_category,
       t.country,
       d.score,
       screening.score AS screening_score,
       coalesce(second.score, ensemble.score) AS ensemble_score
FROM scoring.decisions d
JOIN raw.transactions t ON t.transaction_id = d.transaction_id AND t.event_date BETWEEN $first AND $last
LEFT JOIN scoring.transaction_scores screening
       ON screening.transaction_id = d.transaction_id
      AND screening.event_date = d.event_date
      AND screening.channel = d.channel
      AND screening.model_name = $screening_model
LEFT JOIN scoring.transaction_scores ensemble
       ON ensemble.transaction_id = d.transaction_id
      AND ensemble.event_date = d.event_date
      AND ensemble.channel = d.channel
      AND ensemble.model_name = $ensemble_model
LEFT JOIN scoring.transaction_scores second
       ON second.transaction_id = d.transaction_id
      AND second.event_date = d.event_date
      AND second.channel = d.channel
      AND second.model_name = $second_stage
WHERE d.channel = $channel
  AND d.event_date BETWEEN $first AND $last
  AND ($policy IS NULL OR d.policy = $policy)
ORDER BY d.event_date, d.transaction_id
