-- Decisions whose labels have had time to arrive, with both stages' scores and what was known before
-- $known_before. raw_score is that of the model that gave the final score.
SELECT d.transaction_id,
       t.user_id,
       d.event_date,
       t.amount,
       {columns},
       d.decision,
       d.reason,
       d.score,
       CASE WHEN d.score = s.second_stage_score THEN s.second_stage_raw_score ELSE s.screening_raw_score END AS raw_score,
       s.screening_score,
       s.second_stage_score,
       d.decision <> 'approve' AS alert,
       coalesce(l.actual_fraud, false) AS is_fraud,
       l.actual_fraud IS NOT NULL AS labelled,
       coalesce(l.late, false) AS late,
       l.source AS label_source
FROM scoring.decisions d
JOIN raw.transactions t ON t.transaction_id = d.transaction_id AND t.event_date BETWEEN $first AND $last
LEFT JOIN scoring.stage_scores($channel, $first, $last, $screening_model, $second_stage, $ensemble_model) s
       ON s.transaction_id = d.transaction_id AND s.event_date = d.event_date
LEFT JOIN feedback.reported_before($known_before::TIMESTAMP) l ON l.transaction_id = d.transaction_id
WHERE d.channel = $channel
  AND d.event_date BETWEEN $first AND $last
  AND ($policy IS NULL OR d.policy = $policy)
  AND ($every OR feedback.has_outcome(t.judged_only, l.actual_fraud))
ORDER BY d.event_date, d.transaction_id
