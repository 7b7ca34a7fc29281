-- Decisions whose labels have had time to arrive, with both stages' scores and what was known before
-- $known_before. raw_score is that of the model that gave the final score.
SELECT d.transaction_id,
       t.user_id,
       d.event_date,
       t.amount,
       t.merchant_category,
       t.country,
       d.decision,
       d.reason,
       d.score,
       CASE WHEN d.score = coalesce(second.score, ensemble.score) THEN coalesce(second.raw_score, ensemble.raw_score)
            ELSE screening.raw_score END AS raw_score,
       screening.score AS screening_score,
       coalesce(second.score, ensemble.score) AS ensemble_score,
       d.decision <> 'approve' AS alert,
       coalesce(l.actual_fraud, false) AS is_fraud,
       l.actual_fraud IS NOT NULL AS labelled,
       l.source AS label_source
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
LEFT JOIN feedback.labels_before($known_before::TIMESTAMP) l ON l.transaction_id = d.transaction_id
WHERE d.channel = $channel
  AND d.event_date BETWEEN $first AND $last
  AND ($policy IS NULL OR d.policy = $policy)
ORDER BY d.event_date, d.transaction_id
