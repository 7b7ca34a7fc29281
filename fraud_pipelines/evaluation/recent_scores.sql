-- Both stages' scores of the latest decisions, labelled or not: what the alert volume is read from.
SELECT d.transaction_id, d.event_date, d.score, screening.score AS screening_score, ensemble.score AS ensemble_score
FROM scoring.decisions d
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
WHERE d.channel = $channel
  AND d.event_date BETWEEN $first AND $last
  AND ($policy IS NULL OR d.policy = $policy)
ORDER BY d.event_date, d.transaction_id
