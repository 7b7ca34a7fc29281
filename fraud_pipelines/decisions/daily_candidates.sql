-- A day's transactions with the scores of both stages, and the versions that gave them, in the order of use. Where
-- the policy's second stage gave no score, or none of its versions has been promoted, the ensemble stands in for it.
WITH unproven AS (
    SELECT model_name FROM monitoring.model_promotions WHERE as_of = $day AND champion_version IS NULL
),
by_model AS (
    SELECT transaction_id,
           max(score) FILTER (model_name = $screening_model) AS screening_score,
           max(score) FILTER (model_name = $second_stage) AS second_score,
           max(score) FILTER (model_name = $ensemble_model) AS ensemble_score,
           max(model_version) FILTER (model_name = $screening_model) AS screening_version,
           max(model_version) FILTER (model_name = $second_stage) AS second_version,
           max(model_version) FILTER (model_name = $ensemble_model) AS ensemble_version
    FROM scoring.transaction_scores
    WHERE event_date = $day AND channel = 'batch' AND model_name NOT IN (FROM unproven)
    GROUP BY transaction_id
)
SELECT transaction_id,
       screening_score,
       coalesce(second_score, ensemble_score) AS ensemble_score,
       list_filter(
           [
               $screening_model || '/' || screening_version,
               coalesce($second_stage || '/' || second_version, $ensemble_model || '/' || ensemble_version)
           ],
           lambda version: version IS NOT NULL
       ) AS model_versions
FROM by_model
ORDER BY transaction_id
