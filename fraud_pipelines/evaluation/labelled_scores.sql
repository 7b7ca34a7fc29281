-- The scores of labelled payments (_labelled), by every model.
SELECT s.transaction_id, s.event_date, s.model_name, s.channel, s.model_version, s.score, s.raw_score, s.is_anomaly AS alert
FROM scoring.transaction_scores s
SEMI JOIN _labelled l USING (transaction_id)
WHERE s.event_date BETWEEN $first AND $last
ORDER BY s.transaction_id
