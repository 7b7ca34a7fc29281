-- The stored decisions of a range of days in a channel: all of them, or those asked for and those that a rule made.
SELECT d.transaction_id, d.event_date, t.user_id, t.amount, d.decision AS before, d.score, d.reason,
       d.review_threshold, d.block_threshold
FROM scoring.decisions d
JOIN raw.transactions t ON t.transaction_id = d.transaction_id AND t.event_date = d.event_date
WHERE d.channel = $channel
  AND d.event_date BETWEEN $first AND $last
  AND t.event_date BETWEEN $first AND $last
  AND ($every OR starts_with(d.reason, 'rule:') OR d.transaction_id IN (SELECT transaction_id FROM _asked))
