-- The payments of the user of transaction $id: the $before up to it, itself included, and the $after that followed,
-- each with the strictest decision on it and the verdict that holds now.
WITH this AS (
    SELECT user_id, "timestamp", transaction_id FROM raw.transactions WHERE transaction_id = $id LIMIT 1
),
life AS (
    SELECT t.*, (t."timestamp", t.transaction_id) <= (this."timestamp", this.transaction_id) AS up_to,
           t.transaction_id = this.transaction_id AS is_case
    FROM raw.transactions t
    JOIN this ON t.user_id = this.user_id
),
around AS (
    (SELECT * FROM life WHERE up_to ORDER BY "timestamp" DESC, transaction_id DESC LIMIT $before)
    UNION ALL
    (SELECT * FROM life WHERE NOT up_to ORDER BY "timestamp", transaction_id LIMIT $after)
),
decided AS (
    SELECT transaction_id, arg_max(decision, {blocked: decision = 'block', alerted: decision <> 'approve'}) AS decision
    FROM {decisions} d
    SEMI JOIN around USING (transaction_id)
    GROUP BY transaction_id
)
SELECT a.transaction_id, a."timestamp", a.amount, {columns}
       d.decision, l.actual_fraud, a.is_case, a.kind, a.local_time, a.date_only
FROM around a
LEFT JOIN decided d USING (transaction_id)
LEFT JOIN feedback.labels_before(now() AT TIME ZONE 'UTC') l USING (transaction_id)
ORDER BY a."timestamp", a.transaction_id
