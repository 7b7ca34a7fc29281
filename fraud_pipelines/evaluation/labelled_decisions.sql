-- What a policy decided on labelled payments (_labelled), with both stages' scores from _labelled_scores; raw_score is
-- that of the model that gave the final score.
SELECT d.transaction_id,
       d.decision,
       d.reason,
       d.decision <> 'approve' AS alert,
       d.score,
       CASE WHEN d.score = s.second_stage_score THEN s.second_stage_raw_score ELSE s.screening_raw_score END AS raw_score,
       s.screening_score,
       s.second_stage_score
FROM scoring.decisions d
SEMI JOIN _labelled l USING (transaction_id)
LEFT JOIN scoring.stages_of(
    '_labelled_scores', $channel, $first, $last, $screening_model, $second_stage, $ensemble_model
) s USING (transaction_id)
WHERE d.channel = $channel
  AND d.policy = $policy
  AND d.event_date BETWEEN $first AND $last
ORDER BY d.transaction_id
