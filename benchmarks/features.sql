-- The features of the fold as SQL windows; {day}, {rows} and the like are filled in by contenders.py.
CREATE TABLE features AS
WITH windowed AS (
    SELECT transaction_id, user_id, "timestamp", amount, {rolling}, {counts},
           lag(amount, 1) OVER previous AS amount_lag_1,
           lag(amount, 5) OVER previous AS amount_lag_5,
           lag(amount, 10) OVER previous AS amount_lag_10,
           epoch_us("timestamp") - epoch_us(lag("timestamp") OVER previous) AS gap,
           (country <> lag(country) OVER previous)::TINYINT AS country_changed,
           amount / avg(amount) OVER (
               PARTITION BY user_id ORDER BY "timestamp", transaction_id
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
           ) AS amount_vs_avg,
           count(*) OVER profile AS n,
           avg(amount) OVER profile AS mean,
           var_pop(amount) OVER profile AS variance,
           max(amount) OVER profile AS largest,
           quantile_cont(amount, [0.25, 0.5, 0.75]) OVER profile AS quartiles,
           (count(*) OVER (PARTITION BY device_fingerprint ORDER BY "timestamp" {day}))::INTEGER AS device_tx_count_24h,
           (count(*) OVER (PARTITION BY merchant_id ORDER BY "timestamp" {day}))::INTEGER AS merchant_tx_count_24h
    FROM source.transactions
    WINDOW previous AS (PARTITION BY user_id ORDER BY "timestamp", transaction_id), {windows},
           profile AS (
               PARTITION BY user_id ORDER BY "timestamp", transaction_id ROWS BETWEEN 50 PRECEDING AND 1 PRECEDING
           )
),
profiled AS (
    SELECT *,
           CASE WHEN n = 0 THEN 0 ELSE (amount - mean)
               / (sqrt((n * variance + 5 * (0.5 * mean) ** 2) / (n + 5)) + 1) END AS user_z,
           CASE WHEN n = 0 THEN 0 ELSE (amount - quartiles[2])
               / ((n * (quartiles[3] - quartiles[1]) / 1.349 + 5 * 0.5 * quartiles[2]) / (n + 5) + 1) END AS user_rz,
           CASE WHEN n = 0 THEN 0 ELSE ln((amount + 1) / (quartiles[2] + 1)) END AS user_log_ratio,
           CASE WHEN n = 0 THEN 0 ELSE ln((amount + 1) / (largest + 1)) END AS user_max_ratio
    FROM windowed
)
SELECT * EXCLUDE (gap, n, mean, variance, largest, quartiles),
       avg(tx_count_24h) OVER (
           PARTITION BY user_id ORDER BY "timestamp", transaction_id ROWS 4 PRECEDING
       ) AS tx_count_rolling_mean_5,
       gap / 60e6 AS minutes_since_last,
       gap / 86400e6 AS days_since_last_tx,
       (count(*) FILTER (user_z > 4) OVER (
           PARTITION BY user_id ORDER BY "timestamp" {fortnight} EXCLUDE CURRENT ROW
       ))::INTEGER AS user_big_14d,
       hour("timestamp")::TINYINT AS hour_of_day,
       (isodow("timestamp") - 1)::TINYINT AS day_of_week,
       (isodow("timestamp") >= 6)::TINYINT AS is_weekend,
       (hour("timestamp") < 6 OR hour("timestamp") > 22)::TINYINT AS is_night,
       (country_changed * (gap < 7200e6)::TINYINT)::TINYINT AS impossible_travel
FROM profiled
ORDER BY user_id, "timestamp", transaction_id
