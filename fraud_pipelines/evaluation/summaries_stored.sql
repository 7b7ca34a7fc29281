-- The stored summaries of a range of days; of those after $detailed_to only the counts.
SELECT event_date,
       model_name,
       channel,
       token,
       transactions,
       alerts,
       exact,
       model_versions,
       CASE WHEN event_date <= $detailed_to THEN scores ELSE [] END AS scores,
       CASE WHEN event_date <= $detailed_to THEN raw_scores ELSE [] END AS raw_scores,
       CASE WHEN event_date <= $detailed_to THEN payments ELSE [] END AS payments,
       CASE WHEN event_date <= $detailed_to THEN cards ELSE [] END AS cards,
       alert_levels,
       alert_payments
FROM monitoring.score_summaries
WHERE event_date BETWEEN $first AND $last
  AND list_contains($names, model_name)
