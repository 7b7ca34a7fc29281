-- Tables, views and macros of the warehouse. Keys are asserted by asset checks, not by indexes:
-- an index would slow every overwrite of a day, and a day is always replaced whole.
CREATE SCHEMA IF NOT EXISTS raw;
CREATE SCHEMA IF NOT EXISTS features;
CREATE SCHEMA IF NOT EXISTS scoring;
CREATE SCHEMA IF NOT EXISTS feedback;
CREATE SCHEMA IF NOT EXISTS monitoring;

-- One row. How a table that exists is changed: see migrations/README.md.
CREATE TABLE IF NOT EXISTS main.schema_version (
    version INTEGER NOT NULL,
    declared VARCHAR NOT NULL,
    applied_at TIMESTAMP NOT NULL
);
COMMENT ON COLUMN main.schema_version.version IS 'The last numbered migration that was applied.';
COMMENT ON COLUMN main.schema_version.declared IS 'Hash of schema.sql and of the declared features: while it is equal, nothing is missing.';
COMMENT ON COLUMN main.schema_version.applied_at IS 'When the file was brought to it, UTC.';

-- One row: of when the published file is, which people open. In the live one, of when its last copy is.
CREATE TABLE IF NOT EXISTS main.publication (
    published_at TIMESTAMP NOT NULL,
    source VARCHAR NOT NULL
);
COMMENT ON COLUMN main.publication.published_at IS 'When its copy was begun, UTC: what was stored later is not in it.';
COMMENT ON COLUMN main.publication.source IS 'The live file that it is a copy of.';

-- A row each time a person was forgotten: how much went, and not of whom.
CREATE TABLE IF NOT EXISTS main.forgotten (
    forgotten_at TIMESTAMP NOT NULL,
    payments BIGINT NOT NULL,
    log_entries BIGINT NOT NULL,
    policies VARCHAR[] NOT NULL
);

CREATE TABLE IF NOT EXISTS raw.transactions (
    transaction_id VARCHAR NOT NULL,
    user_id VARCHAR NOT NULL,
    "timestamp" TIMESTAMP NOT NULL,
    event_date DATE NOT NULL,
    amount DOUBLE NOT NULL,
    merchant_id VARCHAR,
    merchant_category VARCHAR,
    device_type VARCHAR,
    device_fingerprint VARCHAR,
    country VARCHAR,
    city VARCHAR,
    ip_prefix VARCHAR,
    source VARCHAR NOT NULL,
    ingested_at TIMESTAMP NOT NULL,
    kind VARCHAR DEFAULT 'payment',
    local_time TIMESTAMP,
    date_only BOOLEAN,
    judged_only BOOLEAN
);

-- The transactions that are decided: all but refunds.
CREATE OR REPLACE VIEW raw.payments AS
    SELECT * FROM raw.transactions WHERE NOT coalesce(kind = 'refund', false);

-- Rows that the mapping of their source leaves out: they are no payments, and no faults.
CREATE TABLE IF NOT EXISTS raw.left_out_rows (
    source VARCHAR NOT NULL,
    row_number BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    payload VARCHAR NOT NULL,
    left_out_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS raw.rejected_transactions (
    source VARCHAR NOT NULL,
    row_number BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    payload VARCHAR NOT NULL,
    rejected_at TIMESTAMP NOT NULL
);

-- One row a file taken in, by the hash of its content (and of the mapping it was read through), so that a
-- file delivered twice counts once.
CREATE TABLE IF NOT EXISTS raw.landed_files (
    content_hash VARCHAR NOT NULL,
    mapping_hash VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    rows_read BIGINT NOT NULL,
    rows_accepted BIGINT NOT NULL,
    rows_rejected BIGINT NOT NULL,
    landed_at TIMESTAMP NOT NULL,
    rows_left_out BIGINT DEFAULT 0
);

-- One row, where ids are stored as tokens: with which key they were made, told by its fingerprint, and in which columns.
CREATE TABLE IF NOT EXISTS raw.token_keys (
    fingerprint VARCHAR NOT NULL,
    columns VARCHAR[] NOT NULL,
    noted_at TIMESTAMP NOT NULL
);

-- When a file came again, and rows of it that had waited were taken in.
CREATE TABLE IF NOT EXISTS raw.redeliveries (
    content_hash VARCHAR NOT NULL,
    mapping_hash VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    landed_at TIMESTAMP NOT NULL
);
COMMENT ON COLUMN main.forgotten.forgotten_at IS 'When, UTC.';
COMMENT ON COLUMN main.forgotten.payments IS 'Payments that were removed.';
COMMENT ON COLUMN main.forgotten.log_entries IS 'Entries of the decision log whose content was removed; their hashes stay.';
COMMENT ON COLUMN main.forgotten.policies IS 'Hashes of the policies and rules whose text named somebody who was forgotten.';
COMMENT ON COLUMN raw.token_keys.fingerprint IS 'Tells the key from another one, and tells nothing of it.';
COMMENT ON COLUMN raw.token_keys.columns IS 'The columns of transactions that hold tokens.';
COMMENT ON COLUMN raw.token_keys.noted_at IS 'When the first of them were stored, UTC.';
COMMENT ON COLUMN raw.redeliveries.content_hash IS 'SHA-256 of the content, unpacked.';
COMMENT ON COLUMN raw.redeliveries.mapping_hash IS 'SHA-256 of the mapping it was read through.';
COMMENT ON COLUMN raw.redeliveries.kind IS 'transactions or labels.';
COMMENT ON COLUMN raw.redeliveries.source IS 'The name that the rows are stored under that it brought.';
COMMENT ON COLUMN raw.redeliveries.landed_at IS 'When it came again, UTC.';

-- Deliveries that were taken back (fraud-pipelines import undo).
CREATE TABLE IF NOT EXISTS raw.undone_deliveries (
    content_hash VARCHAR NOT NULL,
    mapping_hash VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    landed_at TIMESTAMP NOT NULL,
    undone_at TIMESTAMP NOT NULL,
    transactions BIGINT NOT NULL,
    labels BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    left_out BIGINT NOT NULL
);
COMMENT ON COLUMN raw.undone_deliveries.content_hash IS 'SHA-256 of the content, unpacked.';
COMMENT ON COLUMN raw.undone_deliveries.mapping_hash IS 'SHA-256 of the mapping it was read through.';
COMMENT ON COLUMN raw.undone_deliveries.kind IS 'transactions or labels.';
COMMENT ON COLUMN raw.undone_deliveries.source IS 'The file it came with.';
COMMENT ON COLUMN raw.undone_deliveries.landed_at IS 'When it was taken in, UTC.';
COMMENT ON COLUMN raw.undone_deliveries.undone_at IS 'When it was taken back, UTC.';
COMMENT ON COLUMN raw.undone_deliveries.transactions IS 'Transactions that were removed.';
COMMENT ON COLUMN raw.undone_deliveries.labels IS 'Labels that were removed, corrected ones included.';
COMMENT ON COLUMN raw.undone_deliveries.rejected IS 'Rows that were removed from the quarantine.';
COMMENT ON COLUMN raw.undone_deliveries.left_out IS 'Rows that were removed from those left out.';

-- What of the landing zones could not be taken in at the last look: it is still there.
CREATE TABLE IF NOT EXISTS raw.landing_problems (
    zone VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    noticed_at TIMESTAMP NOT NULL
);
COMMENT ON COLUMN raw.landing_problems.zone IS 'The landing zone: transactions, labels or stream.';
COMMENT ON COLUMN raw.landing_problems.name IS 'The entry, below the zone.';
COMMENT ON COLUMN raw.landing_problems.reason IS 'Why it was not taken in, or not moved away.';
COMMENT ON COLUMN raw.landing_problems.noticed_at IS 'When the problems of the zone were last found to be others than before, UTC.';

-- The currency that amounts are in, where transactions say theirs; one row.
CREATE TABLE IF NOT EXISTS raw.base_currency (
    currency VARCHAR NOT NULL
);

CREATE TABLE IF NOT EXISTS raw.exchange_rates (
    rate_date DATE NOT NULL,
    currency VARCHAR NOT NULL,
    rate DOUBLE NOT NULL
);

-- Where the past of each entity begins: no row, or no first_day, where all of it was folded.
CREATE TABLE IF NOT EXISTS features.entity_starts (
    entity VARCHAR NOT NULL,
    declaration VARCHAR NOT NULL,
    first_day DATE,
    rebuilt_through DATE
);

-- How many of a day's payments had which value: what young histories are compared with on the days after it.
CREATE TABLE IF NOT EXISTS features.population (
    event_date DATE NOT NULL,
    measured VARCHAR NOT NULL,
    category VARCHAR,
    bin INTEGER NOT NULL,
    payments BIGINT NOT NULL
);

-- By which declarations the features of each day were computed.
CREATE TABLE IF NOT EXISTS features.derived_days (
    event_date DATE NOT NULL,
    plan_version VARCHAR NOT NULL
);

-- The declarations of each version, whole: what ships included, every default spelled out.
CREATE TABLE IF NOT EXISTS features.plan_versions (
    plan_version VARCHAR NOT NULL,
    content VARCHAR NOT NULL
);

-- Days whose derived tables no longer follow from what is stored; a rerun of the day removes its row.
CREATE TABLE IF NOT EXISTS raw.stale_days (
    event_date DATE NOT NULL,
    reason VARCHAR NOT NULL,
    marked_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS scoring.transaction_scores (
    transaction_id VARCHAR NOT NULL,
    model_name VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    event_date DATE NOT NULL,
    model_version INTEGER NOT NULL,
    raw_score DOUBLE NOT NULL,
    score DOUBLE NOT NULL,
    is_anomaly BOOLEAN NOT NULL,
    scored_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS scoring.decisions (
    transaction_id VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    event_date DATE NOT NULL,
    decision VARCHAR NOT NULL,
    score DOUBLE NOT NULL,
    reason VARCHAR NOT NULL,
    reason_codes VARCHAR[] NOT NULL,
    policy VARCHAR NOT NULL,
    review_threshold DOUBLE NOT NULL,
    block_threshold DOUBLE NOT NULL,
    model_versions VARCHAR[] NOT NULL,
    decided_at TIMESTAMP NOT NULL,
    plan_version VARCHAR,
    audited BOOLEAN,
    audit_probability DOUBLE
);

-- Every decision ever made, and every withdrawal of one: rows are added and never changed. scoring.decisions shows
-- the last of each transaction and channel. The hashes chain the entries of a channel, day and shard, see
-- decisions/hash_chain.py; those without a shard are one chain, of releases before shards.
CREATE TABLE IF NOT EXISTS scoring.decision_revisions (
    sequence BIGINT NOT NULL,
    transaction_id VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    revision INTEGER NOT NULL,
    action VARCHAR NOT NULL,
    event_date DATE NOT NULL,
    decision VARCHAR,
    score DOUBLE,
    reason VARCHAR,
    reason_codes VARCHAR[],
    policy VARCHAR,
    review_threshold DOUBLE,
    block_threshold DOUBLE,
    model_versions VARCHAR[],
    policy_hash VARCHAR,
    thresholds_hash VARCHAR,
    rules_hash VARCHAR,
    decided_at TIMESTAMP NOT NULL,
    previous_hash VARCHAR NOT NULL,
    entry_hash VARCHAR NOT NULL,
    plan_version VARCHAR,
    audited BOOLEAN,
    audit_probability DOUBLE,
    shard INTEGER
);

-- The seal of each append: where every chain that grew ended, chained from seal to seal. It shows that nothing is lacking.
CREATE TABLE IF NOT EXISTS scoring.decision_chain (
    sequence BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    channel VARCHAR NOT NULL,
    head_hash VARCHAR NOT NULL,
    appended_at TIMESTAMP NOT NULL,
    previous_root VARCHAR,
    heads VARCHAR[]
);

-- The text of each policy, set of thresholds and set of rules that ever decided, by the hash of its content.
CREATE TABLE IF NOT EXISTS scoring.policy_versions (
    hash VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    content VARCHAR NOT NULL,
    first_used_at TIMESTAMP NOT NULL
);

-- Who is allowed, blocked or watched, and for whom a rule is silent; an entry is never removed, it ends.
CREATE TABLE IF NOT EXISTS scoring.list_entries (
    entry_id VARCHAR NOT NULL,
    list_name VARCHAR NOT NULL,
    column_name VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    rule VARCHAR,
    begins DATE NOT NULL,
    expires DATE NOT NULL,
    reason VARCHAR NOT NULL,
    author VARCHAR NOT NULL,
    author_named_by VARCHAR,
    added_at TIMESTAMP NOT NULL,
    ended_on DATE,
    ended_by VARCHAR
);
COMMENT ON COLUMN scoring.list_entries.entry_id IS 'By which the entry is removed.';
COMMENT ON COLUMN scoring.list_entries.list_name IS 'allow, block, watch or snooze.';
COMMENT ON COLUMN scoring.list_entries.column_name IS 'The column of a transaction that it is about.';
COMMENT ON COLUMN scoring.list_entries.value IS 'The value of that column, as text.';
COMMENT ON COLUMN scoring.list_entries.rule IS 'Of snooze: the hard rule that is silent for the value.';
COMMENT ON COLUMN scoring.list_entries.begins IS 'The first event day, UTC, that it counts for.';
COMMENT ON COLUMN scoring.list_entries.expires IS 'The last event day that it counts for.';
COMMENT ON COLUMN scoring.list_entries.reason IS 'Why, in the words of its author.';
COMMENT ON COLUMN scoring.list_entries.author IS 'Who added it.';
COMMENT ON COLUMN scoring.list_entries.author_named_by IS 'login: the proxy before the page told the name; typed: the author wrote it; null: the shell.';
COMMENT ON COLUMN scoring.list_entries.added_at IS 'When it was added, UTC.';
COMMENT ON COLUMN scoring.list_entries.ended_on IS 'The first event day that it no longer counts for, since somebody took it off.';
COMMENT ON COLUMN scoring.list_entries.ended_by IS 'Who took it off.';

-- Which rules that the file holds in shadow decide all the same; a row is never removed, it ends.
CREATE TABLE IF NOT EXISTS scoring.rule_promotions (
    promotion_id VARCHAR NOT NULL,
    rule VARCHAR NOT NULL,
    content VARCHAR NOT NULL,
    begins DATE NOT NULL,
    reason VARCHAR NOT NULL,
    author VARCHAR NOT NULL,
    promoted_at TIMESTAMP NOT NULL,
    ended_on DATE,
    ended_by VARCHAR
);
COMMENT ON COLUMN scoring.rule_promotions.promotion_id IS 'Names the promotion.';
COMMENT ON COLUMN scoring.rule_promotions.rule IS 'The name of the rule.';
COMMENT ON COLUMN scoring.rule_promotions.content IS 'The rule as it was when it was promoted, as JSON.';
COMMENT ON COLUMN scoring.rule_promotions.begins IS 'The first event day, UTC, whose payments it decides.';
COMMENT ON COLUMN scoring.rule_promotions.reason IS 'Why, in the words of its author.';
COMMENT ON COLUMN scoring.rule_promotions.author IS 'Who promoted it.';
COMMENT ON COLUMN scoring.rule_promotions.promoted_at IS 'When it was promoted, UTC.';
COMMENT ON COLUMN scoring.rule_promotions.ended_on IS 'The first event day that it no longer decides, since somebody put it back into shadow.';
COMMENT ON COLUMN scoring.rule_promotions.ended_by IS 'Who put it back.';

-- What was in shadow on a day, and of how many payments it was asked: also where it hit none.
CREATE TABLE IF NOT EXISTS scoring.shadow_days (
    event_date DATE NOT NULL,
    channel VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    content VARCHAR NOT NULL,
    payments BIGINT NOT NULL,
    decided_at TIMESTAMP NOT NULL
);
COMMENT ON COLUMN scoring.shadow_days.event_date IS 'The event day, UTC.';
COMMENT ON COLUMN scoring.shadow_days.channel IS 'batch or stream.';
COMMENT ON COLUMN scoring.shadow_days.kind IS 'rule or policy.';
COMMENT ON COLUMN scoring.shadow_days.name IS 'The name of the rule or the policy.';
COMMENT ON COLUMN scoring.shadow_days.version IS 'SHA-256 of the content.';
COMMENT ON COLUMN scoring.shadow_days.content IS 'The rule or the policy, as JSON.';
COMMENT ON COLUMN scoring.shadow_days.payments IS 'Payments of the day that it was asked of.';
COMMENT ON COLUMN scoring.shadow_days.decided_at IS 'When it was asked last, UTC.';

-- What would have been decided otherwise, or would have been alerted; nothing that decides looks at it.
CREATE TABLE IF NOT EXISTS scoring.shadow_decisions (
    transaction_id VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    event_date DATE NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    decision VARCHAR NOT NULL,
    score DOUBLE NOT NULL,
    reason VARCHAR NOT NULL,
    in_force VARCHAR NOT NULL,
    decided_at TIMESTAMP NOT NULL
);
COMMENT ON COLUMN scoring.shadow_decisions.transaction_id IS 'A payment that the rule holds for, or that the policy or the decision in force alerts.';
COMMENT ON COLUMN scoring.shadow_decisions.channel IS 'batch or stream.';
COMMENT ON COLUMN scoring.shadow_decisions.event_date IS 'The event day, UTC.';
COMMENT ON COLUMN scoring.shadow_decisions.kind IS 'rule or policy.';
COMMENT ON COLUMN scoring.shadow_decisions.name IS 'The name of the rule or the policy.';
COMMENT ON COLUMN scoring.shadow_decisions.version IS 'SHA-256 of its content, which scoring.shadow_days has.';
COMMENT ON COLUMN scoring.shadow_decisions.decision IS 'What would have been decided: with the rule beside what is in force, or by the policy.';
COMMENT ON COLUMN scoring.shadow_decisions.score IS 'Of a rule the score of the decision in force, of a policy that of the model that decides for it.';
COMMENT ON COLUMN scoring.shadow_decisions.reason IS 'Why, as in scoring.decisions.';
COMMENT ON COLUMN scoring.shadow_decisions.in_force IS 'What was decided.';
COMMENT ON COLUMN scoring.shadow_decisions.decided_at IS 'When, UTC.';

-- What people did with cases, each doing an entry that is never changed: a hash chain as that of the decisions, see
-- decisions/cases/events.py. Of author and text the chain covers salted digests, so that either can be erased.
CREATE TABLE IF NOT EXISTS feedback.case_events (
    sequence BIGINT NOT NULL,
    case_id VARCHAR NOT NULL,
    column_name VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    action VARCHAR NOT NULL,
    happened_at TIMESTAMP NOT NULL,
    until TIMESTAMP,
    outcome VARCHAR,
    tag VARCHAR,
    transactions VARCHAR[],
    evidence VARCHAR,
    about BIGINT,
    author_named_by VARCHAR,
    author_digest VARCHAR NOT NULL,
    note_digest VARCHAR,
    previous_hash VARCHAR NOT NULL,
    entry_hash VARCHAR NOT NULL,
    author VARCHAR,
    author_salt VARCHAR,
    note VARCHAR,
    note_salt VARCHAR
);
COMMENT ON COLUMN feedback.case_events.sequence IS 'Place in the chain, from 1.';
COMMENT ON COLUMN feedback.case_events.case_id IS 'The case: a digest of column_name, number and value.';
COMMENT ON COLUMN feedback.case_events.column_name IS 'The column of a transaction that names whom the case is about.';
COMMENT ON COLUMN feedback.case_events.value IS 'The value of that column, as text.';
COMMENT ON COLUMN feedback.case_events.number IS 'Which case of this value, from 1.';
COMMENT ON COLUMN feedback.case_events.action IS 'claimed, released, noted, tagged, untagged, due, escalated, waiting, resumed, judged, proposed, declined, closed, reopened or erased; forgotten: of a person who was forgotten.';
COMMENT ON COLUMN feedback.case_events.happened_at IS 'When, UTC.';
COMMENT ON COLUMN feedback.case_events.until IS 'Of claimed and waiting: until when, UTC; of due: the time by which the case is due.';
COMMENT ON COLUMN feedback.case_events.outcome IS 'Of judged, proposed and closed: fraud, legitimate or unclear.';
COMMENT ON COLUMN feedback.case_events.tag IS 'Of tagged and untagged: the tag.';
COMMENT ON COLUMN feedback.case_events.transactions IS 'Of judged, proposed and closed: the payments that the outcome is about.';
COMMENT ON COLUMN feedback.case_events.evidence IS 'Of judged, proposed and closed: those payments, with decisions, reasons and features as they were then, as JSON.';
COMMENT ON COLUMN feedback.case_events.about IS 'Of erased: the sequence of the entry whose author or note was erased.';
COMMENT ON COLUMN feedback.case_events.author_named_by IS 'login: the proxy before the page told the name; typed: the author wrote it; null: the shell.';
COMMENT ON COLUMN feedback.case_events.author_digest IS 'SHA-256 of author_salt and author.';
COMMENT ON COLUMN feedback.case_events.note_digest IS 'SHA-256 of note_salt and note; null where there was no note.';
COMMENT ON COLUMN feedback.case_events.previous_hash IS 'Hash of the entry before.';
COMMENT ON COLUMN feedback.case_events.entry_hash IS 'SHA-256 over the hash before and the content; author, note and their salts only by the digests.';
COMMENT ON COLUMN feedback.case_events.author IS 'Who did it; null where the name was erased.';
COMMENT ON COLUMN feedback.case_events.author_salt IS 'Random; erased with the author.';
COMMENT ON COLUMN feedback.case_events.note IS 'What the author wrote; null where there is nothing, or it was erased.';
COMMENT ON COLUMN feedback.case_events.note_salt IS 'Random; erased with the note.';

-- Where that chain ended after each append.
CREATE TABLE IF NOT EXISTS feedback.case_chain (
    sequence BIGINT NOT NULL,
    head_hash VARCHAR NOT NULL,
    appended_at TIMESTAMP NOT NULL
);
COMMENT ON COLUMN feedback.case_chain.sequence IS 'The last entry of feedback.case_events after the append.';
COMMENT ON COLUMN feedback.case_chain.head_hash IS 'Its hash.';
COMMENT ON COLUMN feedback.case_chain.appended_at IS 'When, UTC.';

CREATE TABLE IF NOT EXISTS feedback.labels (
    transaction_id VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    actual_fraud BOOLEAN NOT NULL,
    known_at TIMESTAMP NOT NULL,
    ingested_at TIMESTAMP NOT NULL,
    reviewer VARCHAR,
    comment VARCHAR,
    scenario VARCHAR,
    reviewer_named_by VARCHAR
);

-- What a source said before it corrected itself: what was known on a past day stays readable.
CREATE TABLE IF NOT EXISTS feedback.superseded_labels (
    transaction_id VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    actual_fraud BOOLEAN NOT NULL,
    known_at TIMESTAMP NOT NULL,
    ingested_at TIMESTAMP NOT NULL,
    reviewer VARCHAR,
    comment VARCHAR,
    scenario VARCHAR,
    reviewer_named_by VARCHAR
);

CREATE TABLE IF NOT EXISTS feedback.rejected_labels (
    source VARCHAR NOT NULL,
    row_number BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    payload VARCHAR NOT NULL,
    rejected_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS feedback.decision_outcomes (
    outcome_date DATE NOT NULL,
    transaction_id VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    event_date DATE NOT NULL,
    decision VARCHAR NOT NULL,
    score DOUBLE NOT NULL,
    source VARCHAR NOT NULL,
    actual_fraud BOOLEAN NOT NULL,
    correct BOOLEAN NOT NULL,
    known_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS monitoring.model_performance (
    as_of DATE NOT NULL,
    model_name VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    window_start DATE NOT NULL,
    window_end DATE NOT NULL,
    transactions BIGINT NOT NULL,
    labelled BIGINT NOT NULL,
    frauds BIGINT NOT NULL,
    alerts BIGINT NOT NULL,
    "precision" DOUBLE,
    precision_low DOUBLE,
    precision_high DOUBLE,
    recall DOUBLE,
    recall_low DOUBLE,
    recall_high DOUBLE,
    f1 DOUBLE,
    average_precision DOUBLE,
    average_precision_low DOUBLE,
    average_precision_high DOUBLE,
    roc_auc DOUBLE,
    card_precision_at_k DOUBLE,
    card_precision_ceiling DOUBLE,
    value_detection_rate DOUBLE,
    cost DOUBLE,
    alerts_per_day DOUBLE,
    alerts_labelled BIGINT,
    label_coverage DOUBLE,
    f1_low DOUBLE,
    f1_high DOUBLE,
    value_detection_rate_low DOUBLE,
    value_detection_rate_high DOUBLE,
    cost_low DOUBLE,
    cost_high DOUBLE,
    chargebacks_reported DOUBLE,
    recall_lower_bound DOUBLE,
    exact BOOLEAN,
    audited BIGINT,
    audited_frauds BIGINT,
    frauds_let_through DOUBLE,
    frauds_let_through_low DOUBLE,
    frauds_let_through_high DOUBLE,
    recall_audited DOUBLE,
    recall_audited_low DOUBLE,
    recall_audited_high DOUBLE,
    value_lost_audited DOUBLE,
    value_lost_audited_low DOUBLE,
    value_lost_audited_high DOUBLE
);

-- What the scores of a model were worth, as told each evening from the days whose labels are in; see
-- evaluation/probability.py. A row is a band of the score; between two bands the log odds are linear.
CREATE TABLE IF NOT EXISTS monitoring.score_probabilities (
    as_of DATE NOT NULL,
    model_name VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    window_start DATE NOT NULL,
    window_end DATE NOT NULL,
    score DOUBLE NOT NULL,
    probability DOUBLE NOT NULL,
    payments BIGINT NOT NULL,
    frauds DOUBLE NOT NULL
);
COMMENT ON TABLE monitoring.score_probabilities IS 'How probable fraud is by the score of each model, as known at the end of a day.';
COMMENT ON COLUMN monitoring.score_probabilities.as_of IS 'Told from what was known at the end of this UTC day; in force on the day after.';
COMMENT ON COLUMN monitoring.score_probabilities.model_name IS 'The registered model.';
COMMENT ON COLUMN monitoring.score_probabilities.channel IS 'batch: at the end of the day; stream: as payments came.';
COMMENT ON COLUMN monitoring.score_probabilities.window_start IS 'First event day it is told from.';
COMMENT ON COLUMN monitoring.score_probabilities.window_end IS 'Last event day it is told from: the labels of later ones are still to come.';
COMMENT ON COLUMN monitoring.score_probabilities.score IS 'Mean score of the band''s payments; the bands ascend.';
COMMENT ON COLUMN monitoring.score_probabilities.probability IS 'Probability that a payment with this score is, or will be, known as fraud; it ascends with the score.';
COMMENT ON COLUMN monitoring.score_probabilities.payments IS 'Payments of the band in the window.';
COMMENT ON COLUMN monitoring.score_probabilities.frauds IS 'How many of them are, or are expected to be, known as frauds.';

-- Whether the probabilities were right: of the days whose labels are in, those that had been told before each of them.
CREATE TABLE IF NOT EXISTS monitoring.score_reliability (
    as_of DATE NOT NULL,
    model_name VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    window_start DATE NOT NULL,
    window_end DATE NOT NULL,
    band_low DOUBLE NOT NULL,
    band_high DOUBLE NOT NULL,
    payments BIGINT NOT NULL,
    probability DOUBLE NOT NULL,
    share DOUBLE NOT NULL
);
COMMENT ON TABLE monitoring.score_reliability IS 'Payments by the probability of fraud that they were given, and what became of them.';
COMMENT ON COLUMN monitoring.score_reliability.as_of IS 'The labels known at the end of this UTC day.';
COMMENT ON COLUMN monitoring.score_reliability.model_name IS 'The registered model.';
COMMENT ON COLUMN monitoring.score_reliability.channel IS 'batch: at the end of the day; stream: as payments came.';
COMMENT ON COLUMN monitoring.score_reliability.window_start IS 'First event day judged.';
COMMENT ON COLUMN monitoring.score_reliability.window_end IS 'Last event day judged: the labels of later ones are still to come.';
COMMENT ON COLUMN monitoring.score_reliability.band_low IS 'Payments whose probability was at least this,';
COMMENT ON COLUMN monitoring.score_reliability.band_high IS 'and below this.';
COMMENT ON COLUMN monitoring.score_reliability.payments IS 'How many.';
COMMENT ON COLUMN monitoring.score_reliability.probability IS 'Mean of the probabilities that they were given, each told from earlier days alone.';
COMMENT ON COLUMN monitoring.score_reliability.share IS 'Share of them that is, or is expected to be, known as fraud.';

-- A row a model, channel and day: the scores of its bands, ascending, and their log odds.
CREATE OR REPLACE VIEW monitoring.probability_curves AS
    SELECT as_of, model_name, channel,
           list(score ORDER BY score) AS scores,
           list(ln(probability) - ln(1 - probability) ORDER BY score) AS log_odds
    FROM monitoring.score_probabilities
    GROUP BY as_of, model_name, channel;

-- y at x, linear between the ascending xs, and that of the first or last beyond them; null where there are none.
CREATE OR REPLACE MACRO scoring.between_knots(xs, ys, x, i) AS
    ys[i] + (ys[i + 1] - ys[i]) * (x - xs[i]) / (xs[i + 1] - xs[i]);
CREATE OR REPLACE MACRO scoring.interpolated(xs, ys, x) AS
    CASE WHEN x <= xs[1] THEN ys[1]
         WHEN x >= xs[-1] THEN ys[-1]
         ELSE scoring.between_knots(xs, ys, x, len(list_filter(xs, lambda knot: knot <= x)))
    END;
CREATE OR REPLACE MACRO scoring.fraud_probability(scores, log_odds, score) AS
    1 / (1 + exp(-scoring.interpolated(scores, log_odds, score)));

-- Of the versions that scored a transaction the model whose score the decision has. A rule's decision has the score of
-- the second stage, where there was one.
CREATE OR REPLACE MACRO scoring.deciding_model(reason, model_versions) AS
    regexp_extract(
        CASE WHEN reason IN ('below_screening_threshold', 'ensemble_score_missing') THEN model_versions[1]
             ELSE model_versions[-1]
        END,
        '^[^/@]+'
    );

CREATE TABLE IF NOT EXISTS monitoring.decision_thresholds (
    effective_date DATE NOT NULL,
    policy VARCHAR NOT NULL,
    review_threshold DOUBLE NOT NULL,
    block_threshold DOUBLE NOT NULL,
    contamination DOUBLE NOT NULL,
    objective VARCHAR NOT NULL,
    evidence VARCHAR NOT NULL,
    origin VARCHAR,
    decided_by VARCHAR,
    reason VARCHAR
);

CREATE TABLE IF NOT EXISTS monitoring.feature_drift (
    event_date DATE NOT NULL,
    feature VARCHAR NOT NULL,
    psi DOUBLE NOT NULL,
    "rows" BIGINT,
    reference_rows BIGINT,
    weekday_psi DOUBLE,
    compared_with VARCHAR,
    psi_expected DOUBLE,
    p_value DOUBLE,
    drifted BOOLEAN
);

-- What a day's values of a feature look like, in pieces that can be added up over days; gone when the day is derived anew.
CREATE TABLE IF NOT EXISTS features.daily_distributions (
    event_date DATE NOT NULL,
    feature VARCHAR NOT NULL,
    "rows" BIGINT NOT NULL,
    missing BIGINT NOT NULL,
    low DOUBLE[] NOT NULL,
    high DOUBLE[] NOT NULL,
    counts BIGINT[] NOT NULL,
    texts VARCHAR[]
);

-- What the scores of a day come to, read once: windows are the sum of their days and of the labels known by then.
CREATE TABLE IF NOT EXISTS monitoring.score_summaries (
    event_date DATE NOT NULL,
    model_name VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    transactions BIGINT NOT NULL,
    alerts BIGINT NOT NULL,
    scores DOUBLE[] NOT NULL,
    raw_scores DOUBLE[] NOT NULL,
    payments BIGINT[] NOT NULL,
    alert_levels DOUBLE[] NOT NULL,
    alert_payments BIGINT[] NOT NULL,
    exact BOOLEAN NOT NULL,
    cards VARCHAR[] NOT NULL,
    model_versions INTEGER[] NOT NULL,
    token VARCHAR NOT NULL
);
COMMENT ON TABLE monitoring.score_summaries IS 'One row a day for each model, each policy and the amounts alone, by channel; whatever is known of the payments.';
COMMENT ON COLUMN monitoring.score_summaries.event_date IS 'The UTC day of the transactions.';
COMMENT ON COLUMN monitoring.score_summaries.model_name IS 'A registered model, policy:NAME for the decisions, or amount: the ranking by amount alone.';
COMMENT ON COLUMN monitoring.score_summaries.channel IS 'batch: at the end of the day; stream: as payments came.';
COMMENT ON COLUMN monitoring.score_summaries.transactions IS 'Transactions that were scored or decided.';
COMMENT ON COLUMN monitoring.score_summaries.alerts IS 'Transactions that were reviewed or blocked, or that a model called unusual.';
COMMENT ON COLUMN monitoring.score_summaries.scores IS 'The distinct scores, the highest first.';
COMMENT ON COLUMN monitoring.score_summaries.raw_scores IS 'The raw score of each, which breaks ties.';
COMMENT ON COLUMN monitoring.score_summaries.payments IS 'How many transactions have each.';
COMMENT ON COLUMN monitoring.score_summaries.alert_levels IS 'Of decisions: the review thresholds at which a transaction would just pass, the highest first.';
COMMENT ON COLUMN monitoring.score_summaries.alert_payments IS 'How many transactions have each.';
COMMENT ON COLUMN monitoring.score_summaries.exact IS 'Every score counts as it is; else nearly equal ones of very many transactions are taken together.';
COMMENT ON COLUMN monitoring.score_summaries.cards IS 'The users by their highest score of the day, 1,500 at most.';
COMMENT ON COLUMN monitoring.score_summaries.model_versions IS 'The versions of the model that scored.';
COMMENT ON COLUMN monitoring.score_summaries.token IS 'Number and hash of what the row was made from: while both are the same, it holds.';

-- What the audit sample tells of the trailing days, the youngest included.
CREATE TABLE IF NOT EXISTS monitoring.audit_performance (
    as_of DATE NOT NULL,
    model_name VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    window_start DATE NOT NULL,
    window_end DATE NOT NULL,
    audited BIGINT,
    audited_frauds BIGINT,
    frauds_let_through DOUBLE,
    frauds_let_through_low DOUBLE,
    frauds_let_through_high DOUBLE,
    recall_audited DOUBLE,
    recall_audited_low DOUBLE,
    recall_audited_high DOUBLE,
    value_lost_audited DOUBLE,
    value_lost_audited_low DOUBLE,
    value_lost_audited_high DOUBLE
);
COMMENT ON TABLE monitoring.audit_performance IS 'Frauds let through, recall and value lost over the trailing days, by the audit sample.';
COMMENT ON COLUMN monitoring.audit_performance.as_of IS 'The labels known at the end of this UTC day.';
COMMENT ON COLUMN monitoring.audit_performance.model_name IS 'policy:NAME, whose decisions are judged.';
COMMENT ON COLUMN monitoring.audit_performance.channel IS 'batch: at the end of the day.';
COMMENT ON COLUMN monitoring.audit_performance.window_start IS 'First event day judged.';
COMMENT ON COLUMN monitoring.audit_performance.window_end IS 'Last event day judged.';
COMMENT ON COLUMN monitoring.audit_performance.audited IS 'Payments that the audit sample drew and a review has judged; null where none was drawn, as are all that follow.';
COMMENT ON COLUMN monitoring.audit_performance.audited_frauds IS 'Frauds among them.';
COMMENT ON COLUMN monitoring.audit_performance.frauds_let_through IS 'Estimate of all frauds that were approved, those that nobody ever reports included, by the audit sample.';
COMMENT ON COLUMN monitoring.audit_performance.frauds_let_through_low IS '95 % interval, together with frauds_let_through_high.';
COMMENT ON COLUMN monitoring.audit_performance.frauds_let_through_high IS '95 % interval, together with frauds_let_through_low.';
COMMENT ON COLUMN monitoring.audit_performance.recall_audited IS 'Share of all frauds, those that nobody ever reports included, that was alerted; by the audit sample.';
COMMENT ON COLUMN monitoring.audit_performance.recall_audited_low IS '95 % interval, together with recall_audited_high.';
COMMENT ON COLUMN monitoring.audit_performance.recall_audited_high IS '95 % interval, together with recall_audited_low.';
COMMENT ON COLUMN monitoring.audit_performance.value_lost_audited IS 'What the frauds that were approved cost, in currency units over the window; by the audit sample.';
COMMENT ON COLUMN monitoring.audit_performance.value_lost_audited_low IS '95 % interval, together with value_lost_audited_high.';
COMMENT ON COLUMN monitoring.audit_performance.value_lost_audited_high IS '95 % interval, together with value_lost_audited_low.';

CREATE TABLE IF NOT EXISTS monitoring.audited_thresholds (
    as_of DATE NOT NULL,
    model_name VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    window_start DATE NOT NULL,
    window_end DATE NOT NULL,
    review_threshold DOUBLE NOT NULL,
    alerts DOUBLE NOT NULL,
    frauds DOUBLE,
    frauds_low DOUBLE,
    frauds_high DOUBLE,
    "precision" DOUBLE,
    precision_low DOUBLE,
    precision_high DOUBLE,
    recall DOUBLE,
    recall_low DOUBLE,
    recall_high DOUBLE,
    value_lost DOUBLE,
    value_lost_low DOUBLE,
    value_lost_high DOUBLE
);
COMMENT ON TABLE monitoring.audited_thresholds IS 'What other review thresholds would have meant over the trailing days, by the audit sample.';
COMMENT ON COLUMN monitoring.audited_thresholds.as_of IS 'The labels known at the end of this UTC day.';
COMMENT ON COLUMN monitoring.audited_thresholds.model_name IS 'policy:NAME, whose decisions are judged.';
COMMENT ON COLUMN monitoring.audited_thresholds.channel IS 'batch: at the end of the day.';
COMMENT ON COLUMN monitoring.audited_thresholds.window_start IS 'First event day judged.';
COMMENT ON COLUMN monitoring.audited_thresholds.window_end IS 'Last event day judged.';
COMMENT ON COLUMN monitoring.audited_thresholds.review_threshold IS 'The review threshold that there might have been.';
COMMENT ON COLUMN monitoring.audited_thresholds.alerts IS 'Payments of the window that would have been reviewed or blocked.';
COMMENT ON COLUMN monitoring.audited_thresholds.frauds IS 'Frauds among these, by the audit sample.';
COMMENT ON COLUMN monitoring.audited_thresholds.frauds_low IS '95 % interval, together with frauds_high.';
COMMENT ON COLUMN monitoring.audited_thresholds.frauds_high IS '95 % interval, together with frauds_low.';
COMMENT ON COLUMN monitoring.audited_thresholds."precision" IS 'Share of these that is fraud.';
COMMENT ON COLUMN monitoring.audited_thresholds.precision_low IS '95 % interval, together with precision_high.';
COMMENT ON COLUMN monitoring.audited_thresholds.precision_high IS '95 % interval, together with precision_low.';
COMMENT ON COLUMN monitoring.audited_thresholds.recall IS 'Share of all frauds that is among these.';
COMMENT ON COLUMN monitoring.audited_thresholds.recall_low IS '95 % interval, together with recall_high.';
COMMENT ON COLUMN monitoring.audited_thresholds.recall_high IS '95 % interval, together with recall_low.';
COMMENT ON COLUMN monitoring.audited_thresholds.value_lost IS 'What the other frauds cost, in currency units over the window.';
COMMENT ON COLUMN monitoring.audited_thresholds.value_lost_low IS '95 % interval, together with value_lost_high.';
COMMENT ON COLUMN monitoring.audited_thresholds.value_lost_high IS '95 % interval, together with value_lost_low.';

-- What people should know of; the row is there whether a webhook is told of it or not.
CREATE TABLE IF NOT EXISTS monitoring.alerts (
    alert_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    event_date DATE,
    subject VARCHAR NOT NULL,
    message VARCHAR NOT NULL,
    transaction_ids VARCHAR[] NOT NULL,
    created_at TIMESTAMP NOT NULL,
    delivered_at TIMESTAMP,
    attempts INTEGER NOT NULL,
    attempted_at TIMESTAMP,
    error VARCHAR
);

-- Every verdict ever given: those in force, and those that a source has corrected since.
CREATE OR REPLACE VIEW feedback.label_history AS
    FROM feedback.labels UNION ALL BY NAME FROM feedback.superseded_labels;

-- One verdict a transaction from the labels known between two instants: a chargeback outranks a review, since the
-- cardholder's bank has the last word; of one source, what it said last. late: a fraud known by its chargeback alone,
-- so that others like it are still to come; what a review found was known at once.
CREATE OR REPLACE MACRO feedback.labels_between(since, instant) AS TABLE
    SELECT transaction_id, verdict.actual_fraud, verdict.source, verdict.known_at,
           verdict.actual_fraud AND NOT found_by_review AS late
    FROM (
        SELECT transaction_id,
               arg_max({actual_fraud: actual_fraud, source: source, known_at: known_at},
                       {outranks: source = 'chargeback', known_at: known_at}) AS verdict,
               bool_or(source = 'review' AND actual_fraud) AS found_by_review
        FROM feedback.label_history
        WHERE known_at >= since
          AND known_at < instant
        GROUP BY transaction_id
    );

CREATE OR REPLACE MACRO feedback.labels_before(instant) AS TABLE
    FROM feedback.labels_between('-infinity'::TIMESTAMP, instant);

-- What the audit sample alone sent to review.
CREATE OR REPLACE VIEW scoring.audited_payments AS
    SELECT transaction_id, event_date, channel, audit_probability
    FROM scoring.decisions d
    WHERE audited
      AND NOT EXISTS (
          FROM scoring.decisions other
          WHERE other.transaction_id = d.transaction_id AND other.event_date = d.event_date AND other.decision <> 'approve'
      );

-- The labels that there would be without the audit sample: those of figures about all frauds that are ever reported. Of
-- an audited payment its chargeback counts, and the review does where only a verdict tells the outcome.
CREATE OR REPLACE MACRO feedback.reported_between(since, instant) AS TABLE
    SELECT l.transaction_id, l.actual_fraud, l.source, l.known_at,
           l.late OR (l.actual_fraud AND a.transaction_id IS NOT NULL AND l.source = 'chargeback') AS late
    FROM feedback.labels_between(since, instant) l
    LEFT JOIN scoring.audited_payments a USING (transaction_id)
    WHERE a.transaction_id IS NULL
       OR l.source = 'chargeback'
       OR a.transaction_id IN (SELECT transaction_id FROM raw.transactions WHERE judged_only);

CREATE OR REPLACE MACRO feedback.reported_before(instant) AS TABLE
    FROM feedback.reported_between('-infinity'::TIMESTAMP, instant);

-- Whether it is known what became of a payment whose days have matured: of most, no label means legitimate.
CREATE OR REPLACE MACRO feedback.has_outcome(judged_only, actual_fraud) AS
    judged_only IS NOT TRUE OR actual_fraud IS NOT NULL;

-- The payments of a range of days of which that isn't known before an instant; none where the instant is null.
CREATE OR REPLACE MACRO feedback.unjudged(first_day, last_day, instant) AS TABLE
    SELECT transaction_id, event_date
    FROM raw.payments
    WHERE judged_only
      AND instant IS NOT NULL
      AND event_date BETWEEN first_day AND last_day
      AND transaction_id NOT IN (
          SELECT transaction_id FROM feedback.labels_between(first_day::TIMESTAMP, instant)
      );

-- As in the original: a block is right on fraud, an approval on a legitimate payment; a review is right
-- when it found fraud.
CREATE OR REPLACE MACRO feedback.is_correct(decision, actual_fraud) AS
    CASE WHEN decision = 'approve' THEN NOT actual_fraud ELSE actual_fraud END;

CREATE OR REPLACE VIEW feedback.decision_log AS
    SELECT d.transaction_id, d.channel, d.event_date, d.decision, d.score, d.decided_at,
           l.actual_fraud, feedback.is_correct(d.decision, l.actual_fraud) AS correct
    FROM scoring.decisions d
    LEFT JOIN feedback.labels_before(now() AT TIME ZONE 'UTC') l USING (transaction_id);

-- How often an alert turned out to be fraud, by twentieths of its score: among the alerts that a reviewer judged, by
-- the verdict that holds now. The queue goes by it until matured days tell the probabilities of a model's scores. A
-- score is a rank: it starts as the estimate, scaled to be right on average over what was judged, and counts in its
-- band like 20 judged alerts. With none judged the estimate is the score itself, with many it is the share of the band.
CREATE OR REPLACE MACRO scoring.score_band(score) AS least(floor(score * 20), 19)::INTEGER;
CREATE OR REPLACE VIEW scoring.alert_precision AS
    WITH judged AS (
        SELECT transaction_id, max(d.score) AS score, any_value(l.actual_fraud) AS actual_fraud
        FROM scoring.decisions d
        JOIN feedback.labels_before(now() AT TIME ZONE 'UTC') l USING (transaction_id)
        SEMI JOIN (FROM feedback.labels WHERE source = 'review') r USING (transaction_id)
        WHERE d.decision <> 'approve'
        GROUP BY transaction_id
    ),
    overall AS (
        SELECT (count(*) FILTER (actual_fraud) + 20) / (coalesce(sum(score), 0) + 20) AS scale FROM judged
    )
    SELECT band::INTEGER AS score_band,
           count(transaction_id) AS judged,
           count(transaction_id) FILTER (actual_fraud) AS frauds,
           any_value(scale) AS scale
    FROM range(20) AS bands(band)
    CROSS JOIN overall
    LEFT JOIN judged ON scoring.score_band(judged.score) = band
    GROUP BY band;

-- The state of each case that somebody has worked on, as it was at a moment: it follows from the events until then.
CREATE OR REPLACE MACRO feedback.cases_at(moment) AS TABLE
    WITH known AS (
        SELECT *,
               sequence > coalesce(
                   max(sequence) FILTER (action = 'reopened') OVER (PARTITION BY case_id), 0
               ) AS since_reopened
        FROM feedback.case_events
        WHERE happened_at <= moment AND action <> 'forgotten'
    ),
    tagged AS (
        SELECT case_id, list(tag ORDER BY tag) AS tags
        FROM (
            SELECT case_id, tag FROM known WHERE tag IS NOT NULL
            GROUP BY case_id, tag HAVING arg_max(action, sequence) = 'tagged'
        )
        GROUP BY case_id
    ),
    turned AS (
        SELECT case_id,
               any_value(column_name) AS column_name,
               any_value(value) AS value,
               any_value(number) AS number,
               min(happened_at) AS opened_at,
               max(happened_at) AS changed_at,
               max(sequence) AS last_sequence,
               bool_or(action = 'escalated') AS escalated,
               arg_max(until, sequence) FILTER (action = 'due') AS due_set,
               coalesce(bool_or(outcome = 'fraud') FILTER (action IN ('judged', 'closed') AND since_reopened), false)
                   AS is_fraud,
               list_distinct(coalesce(flatten(list(transactions) FILTER (action IN ('judged', 'closed'))), []))
                   AS judged_transactions,
               arg_max({action: action, until: until, who: author}, sequence)
                   FILTER (action IN ('claimed', 'released', 'waiting', 'proposed', 'closed', 'reopened')) AS claim,
               arg_max({action: action, until: until, who: author, outcome: outcome, since: happened_at,
                        transactions: transactions}, sequence)
                   FILTER (action IN ('waiting', 'resumed', 'judged', 'proposed', 'declined', 'closed', 'reopened')) AS turn
        FROM known
        GROUP BY case_id
    )
    SELECT case_id, column_name, value, number,
           CASE WHEN turn.action = 'closed' THEN 'closed'
                WHEN turn.action = 'waiting' AND (turn.until IS NULL OR turn.until > moment) THEN 'waiting'
                ELSE 'open' END AS state,
           CASE WHEN turn.action = 'closed' THEN CASE WHEN is_fraud THEN 'fraud' ELSE turn.outcome END END AS outcome,
           opened_at, changed_at,
           CASE WHEN claim.action = 'claimed' AND claim.until > moment THEN coalesce(claim.who, 'somebody') END AS claimed_by,
           CASE WHEN claim.action = 'claimed' AND claim.until > moment THEN claim.until END AS claimed_until,
           CASE WHEN turn.action = 'waiting' THEN turn.until END AS waiting_until,
           due_set, escalated,
           CASE WHEN turn.action = 'proposed' THEN turn.outcome END AS proposed_outcome,
           CASE WHEN turn.action = 'proposed' THEN coalesce(turn.who, 'somebody') END AS proposed_by,
           CASE WHEN turn.action = 'proposed' THEN turn.transactions END AS proposed_transactions,
           CASE WHEN turn.action = 'closed' THEN turn.since END AS closed_at,
           CASE WHEN turn.action = 'closed' THEN turn.who END AS closed_by,
           judged_transactions,
           CASE WHEN turn.action = 'closed' AND turn.outcome = 'unclear' THEN turn.transactions END
               AS unclear_transactions,
           coalesce(tags, []) AS tags,
           last_sequence
    FROM turned
    LEFT JOIN tagged USING (case_id);

CREATE OR REPLACE VIEW feedback.cases AS
    FROM feedback.cases_at(now() AT TIME ZONE 'UTC');

-- What waits for a verdict, each transaction once: of two channels, the one that was stricter with it. Alerts, and the
-- approved payments that the audit sample drew. What a case was closed about without an answer waits no longer.
CREATE OR REPLACE VIEW scoring.review_queue AS
    WITH waiting AS (
        SELECT transaction_id,
               arg_max(d, {blocked: decision = 'block', alerted: decision <> 'approve', score: score, channel: channel}) AS d
        FROM scoring.decisions d
        WHERE (decision <> 'approve' OR audited)
          AND transaction_id NOT IN (FROM feedback.labels_before(now() AT TIME ZONE 'UTC') SELECT transaction_id)
          AND transaction_id NOT IN (SELECT unnest(unclear_transactions) FROM feedback.cases)
        GROUP BY transaction_id
    ),
    estimated AS (
        SELECT d.*, t.amount, t.user_id, t."timestamp",
               coalesce(
                   scoring.fraud_probability(c.scores, c.log_odds, d.score),
                   least((p.frauds + 20 * least(d.score * p.scale, 1)) / (p.judged + 20), 1)
               ) AS fraud_probability,
               c.as_of AS probability_as_of
        FROM waiting
        JOIN raw.transactions t USING (transaction_id)
        JOIN scoring.alert_precision p ON p.score_band = scoring.score_band(d.score)
        ASOF LEFT JOIN monitoring.probability_curves c
            ON c.model_name = scoring.deciding_model(d.reason, d.model_versions)
            AND c.channel = d.channel
            AND d.event_date > c.as_of
    )
    SELECT transaction_id, channel, event_date, decision, score, amount, user_id, "timestamp", reason, reason_codes,
           model_versions, fraud_probability, fraud_probability * amount AS expected_loss, probability_as_of,
           decision = 'approve' AS audited, decided_at
    FROM estimated
    ORDER BY expected_loss DESC, score DESC, transaction_id;

-- The cases that are not closed, what is worth a reviewer's minute most first: escalated ones, then by the loss that can
-- still be stopped a minute, then by the expected loss a minute. Those of which nobody has done anything yet follow from
-- the queue alone. What it goes by is the policy's, see decisions/cases/policy.py.
CREATE OR REPLACE MACRO scoring.case_queue(
    moment, entity_column := 'user_id', blind := false, high_from := 500, medium_from := 50, high_hours := 4,
    medium_hours := 24, low_hours := 72, stop_hours := 72, case_minutes := 5, payment_minutes := 1,
    day_minutes := NULL
) AS TABLE
    WITH placed AS (
        SELECT q.transaction_id, q.decision, q.amount, q."timestamp" AS paid_at, q.decided_at, q.user_id,
               CASE WHEN NOT blind THEN q.expected_loss END AS loss,
               CASE WHEN NOT blind THEN
                   CASE WHEN q.decision <> 'block' AND date_diff('second', q."timestamp", moment) <= stop_hours * 3600
                        THEN q.expected_loss ELSE 0 END
               END AS stoppable,
               CASE WHEN entity_column <> 'user_id' THEN json_extract_string(to_json(t), '$."' || entity_column || '"') END
                   AS other
        FROM scoring.review_queue q
        JOIN raw.transactions t USING (transaction_id)
    ),
    collected AS (
        SELECT CASE WHEN other IS NULL THEN 'user_id' ELSE entity_column END AS column_name,
               coalesce(other, user_id) AS value,
               count(*) AS payments,
               count(*) FILTER (decision = 'block') AS blocked,
               sum(amount) AS amount,
               sum(loss) AS expected_loss,
               sum(stoppable) AS stoppable_loss,
               min(paid_at) AS first_payment,
               max(paid_at) AS last_payment,
               min(decided_at) AS waiting_since,
               list(transaction_id ORDER BY loss DESC NULLS LAST, amount DESC, transaction_id) AS waiting_transactions
        FROM placed
        GROUP BY ALL
    ),
    worked AS (
        FROM feedback.cases_at(moment)
    ),
    numbered AS (
        SELECT column_name, value, max(number) AS numbers FROM worked GROUP BY ALL
    ),
    joined AS (
        SELECT coalesce(o.case_id, left(sha256(c.column_name || ':' || (coalesce(n.numbers, 0) + 1) || ':' || c.value), 12))
                   AS case_id,
               coalesce(c.column_name, o.column_name) AS column_name,
               coalesce(c.value, o.value) AS value,
               coalesce(o.number, coalesce(n.numbers, 0) + 1) AS number,
               coalesce(o.state, 'open') AS state,
               coalesce(o.escalated, false) AS escalated,
               coalesce(c.payments, 0) AS payments,
               coalesce(c.blocked, 0) AS blocked,
               coalesce(c.amount, 0) AS amount,
               CASE WHEN NOT blind THEN coalesce(c.expected_loss, 0) END AS expected_loss,
               CASE WHEN NOT blind THEN coalesce(c.stoppable_loss, 0) END AS stoppable_loss,
               c.first_payment, c.last_payment,
               coalesce(least(c.waiting_since, o.opened_at), c.waiting_since, o.opened_at) AS waiting_since,
               o.due_set, o.claimed_by, o.claimed_until, o.waiting_until, o.proposed_outcome, o.proposed_by,
               o.proposed_transactions,
               coalesce(o.judged_transactions, []) AS judged_transactions,
               coalesce(o.tags, []) AS tags,
               coalesce(c.waiting_transactions, []) AS waiting_transactions,
               coalesce(o.last_sequence, 0) AS last_sequence
        FROM collected c
        LEFT JOIN numbered n USING (column_name, value)
        FULL JOIN (FROM worked WHERE state <> 'closed') o ON o.column_name = c.column_name AND o.value = c.value
    ),
    judged AS (
        SELECT *,
               CASE WHEN escalated OR coalesce(expected_loss, amount) >= high_from THEN 'high'
                    WHEN coalesce(expected_loss, amount) >= medium_from THEN 'medium'
                    ELSE 'low' END AS severity,
               case_minutes + greatest(payments - 1, 0) * payment_minutes AS minutes
        FROM joined
    ),
    worked_today AS (
        SELECT transactions FROM feedback.case_events
        WHERE action IN ('judged', 'proposed', 'closed') AND transactions IS NOT NULL AND about IS NULL
          AND happened_at >= date_trunc('day', moment) AND happened_at <= moment
    ),
    spent AS (
        SELECT coalesce((
                   SELECT sum(case_minutes + greatest(len(transactions) - 1, 0) * payment_minutes) FROM worked_today
               ), 0)
               + coalesce((
                   SELECT count(*) * case_minutes FROM feedback.labels
                   WHERE source = 'review' AND known_at >= date_trunc('day', moment) AND known_at <= moment
                     AND transaction_id NOT IN (SELECT unnest(transactions) FROM worked_today)
               ), 0) AS minutes_spent
    ),
    ranked AS (
        SELECT *,
               row_number() OVER (
                   ORDER BY escalated DESC, payments = 0, stoppable_loss / minutes DESC NULLS LAST,
                            expected_loss / minutes DESC NULLS LAST, amount / minutes DESC, case_id
               ) AS place
        FROM judged
    )
    SELECT place, case_id, column_name, value, number, state, severity, escalated, payments, blocked, amount,
           expected_loss, stoppable_loss, first_payment, last_payment, waiting_since,
           coalesce(
               due_set,
               waiting_since + to_seconds(
                   3600 * CASE severity WHEN 'high' THEN high_hours WHEN 'medium' THEN medium_hours ELSE low_hours END
               )
           ) AS due_at,
           claimed_by, claimed_until, waiting_until, proposed_outcome, proposed_by, proposed_transactions, tags,
           waiting_transactions, judged_transactions, last_sequence, minutes,
           CASE WHEN state = 'open' AND payments > 0
                THEN sum(CASE WHEN state = 'open' AND payments > 0 THEN minutes ELSE 0 END) OVER (ORDER BY place)
           END AS minutes_until_done,
           CASE WHEN state = 'open' AND payments > 0
                THEN coalesce(
                    sum(CASE WHEN state = 'open' AND payments > 0 THEN minutes ELSE 0 END) OVER (ORDER BY place)
                    + minutes_spent <= day_minutes, true)
           END AS reached_today,
           minutes_spent
    FROM ranked
    CROSS JOIN spent
    ORDER BY place;

-- Every decision with the probability of fraud that its score meant when the day began.
CREATE OR REPLACE VIEW scoring.decision_probabilities AS
    SELECT d.transaction_id, d.channel, d.event_date, d.decision, d.score,
           scoring.deciding_model(d.reason, d.model_versions) AS model_name,
           c.as_of,
           scoring.fraud_probability(c.scores, c.log_odds, d.score) AS fraud_probability
    FROM scoring.decisions d
    ASOF LEFT JOIN monitoring.probability_curves c
        ON c.model_name = scoring.deciding_model(d.reason, d.model_versions)
        AND c.channel = d.channel
        AND d.event_date > c.as_of;

COMMENT ON COLUMN raw.transactions.transaction_id IS 'The id the source gave it; it counts once.';
COMMENT ON COLUMN raw.transactions.user_id IS 'Who paid: customer, account or card.';
COMMENT ON COLUMN raw.transactions."timestamp" IS 'When it happened, UTC.';
COMMENT ON COLUMN raw.transactions.event_date IS 'The UTC day of the timestamp, which is its partition.';
COMMENT ON COLUMN raw.transactions.amount IS 'In the currency of the source, not negative.';
COMMENT ON COLUMN raw.transactions.merchant_id IS 'Who was paid.';
COMMENT ON COLUMN raw.transactions.merchant_category IS 'What the merchant sells.';
COMMENT ON COLUMN raw.transactions.device_type IS 'Kind of device, such as mobile, desktop or tablet.';
COMMENT ON COLUMN raw.transactions.device_fingerprint IS 'Identifies the device.';
COMMENT ON COLUMN raw.transactions.country IS 'Where the payer was.';
COMMENT ON COLUMN raw.transactions.city IS 'Where the payer was.';
COMMENT ON COLUMN raw.transactions.ip_prefix IS 'First part of the payer''s address in the network.';
COMMENT ON COLUMN raw.transactions.source IS 'The file it came with.';
COMMENT ON COLUMN raw.transactions.ingested_at IS 'When it was taken in, UTC.';
COMMENT ON COLUMN raw.transactions.kind IS 'payment or refund. A refund is not decided, and no aggregate counts it whose condition does not ask for the kind.';
COMMENT ON COLUMN raw.transactions.local_time IS 'The time on the clock where it happened, in the declared zone; null where none is declared, or the time of day is unknown.';
COMMENT ON COLUMN raw.transactions.date_only IS 'True where the source gave a date without a time: the timestamp is the midnight at which that date begins, and the hour is unknown.';
COMMENT ON COLUMN raw.transactions.judged_only IS 'True where only a verdict tells what became of it, since its source says which payments nobody has judged: without a label it never counts as legitimate.';
COMMENT ON COLUMN raw.payments.transaction_id IS 'The id the source gave it; it counts once.';
COMMENT ON COLUMN raw.payments.user_id IS 'Who paid: customer, account or card.';
COMMENT ON COLUMN raw.payments."timestamp" IS 'When it happened, UTC.';
COMMENT ON COLUMN raw.payments.event_date IS 'The UTC day of the timestamp, which is its partition.';
COMMENT ON COLUMN raw.payments.amount IS 'In the currency of the source, not negative.';
COMMENT ON COLUMN raw.payments.merchant_id IS 'Who was paid.';
COMMENT ON COLUMN raw.payments.merchant_category IS 'What the merchant sells.';
COMMENT ON COLUMN raw.payments.device_type IS 'Kind of device, such as mobile, desktop or tablet.';
COMMENT ON COLUMN raw.payments.device_fingerprint IS 'Identifies the device.';
COMMENT ON COLUMN raw.payments.country IS 'Where the payer was.';
COMMENT ON COLUMN raw.payments.city IS 'Where the payer was.';
COMMENT ON COLUMN raw.payments.ip_prefix IS 'First part of the payer''s address in the network.';
COMMENT ON COLUMN raw.payments.source IS 'The file it came with.';
COMMENT ON COLUMN raw.payments.ingested_at IS 'When it was taken in, UTC.';
COMMENT ON COLUMN raw.payments.kind IS 'payment or refund. A refund is not decided, and no aggregate counts it whose condition does not ask for the kind.';
COMMENT ON COLUMN raw.payments.local_time IS 'The time on the clock where it happened, in the declared zone; null where none is declared, or the time of day is unknown.';
COMMENT ON COLUMN raw.payments.date_only IS 'True where the source gave a date without a time: the timestamp is the midnight at which that date begins, and the hour is unknown.';
COMMENT ON COLUMN raw.payments.judged_only IS 'True where only a verdict tells what became of it, since its source says which payments nobody has judged: without a label it never counts as legitimate.';

COMMENT ON COLUMN raw.left_out_rows.source IS 'The file it came with.';
COMMENT ON COLUMN raw.left_out_rows.row_number IS 'Its number in the file.';
COMMENT ON COLUMN raw.left_out_rows.reason IS 'The condition of the mapping that did not hold.';
COMMENT ON COLUMN raw.left_out_rows.payload IS 'The row, as JSON.';
COMMENT ON COLUMN raw.left_out_rows.left_out_at IS 'When the file was taken in, UTC.';

COMMENT ON COLUMN scoring.transaction_scores.transaction_id IS 'The transaction.';
COMMENT ON COLUMN scoring.transaction_scores.model_name IS 'The registered model in MLflow.';
COMMENT ON COLUMN scoring.transaction_scores.channel IS 'batch: scored at the end of the day; stream: as it came.';
COMMENT ON COLUMN scoring.transaction_scores.event_date IS 'The UTC day of the transaction.';
COMMENT ON COLUMN scoring.transaction_scores.model_version IS 'The version that scored.';
COMMENT ON COLUMN scoring.transaction_scores.raw_score IS 'As the detector gives it; higher is more unusual.';
COMMENT ON COLUMN scoring.transaction_scores.score IS 'From 0 to 1; above 0.5 is the top share of the training traffic that the contamination names.';
COMMENT ON COLUMN scoring.transaction_scores.is_anomaly IS 'The score lies above the model''s threshold.';
COMMENT ON COLUMN scoring.transaction_scores.scored_at IS 'When it was scored, UTC.';

COMMENT ON COLUMN scoring.decisions.transaction_id IS 'The transaction.';
COMMENT ON COLUMN scoring.decisions.channel IS 'batch: decided at the end of the day; stream: as it came.';
COMMENT ON COLUMN scoring.decisions.event_date IS 'The UTC day of the transaction.';
COMMENT ON COLUMN scoring.decisions.decision IS 'approve, review or block.';
COMMENT ON COLUMN scoring.decisions.score IS 'Of the model that decided.';
COMMENT ON COLUMN scoring.decisions.reason IS 'Which stage decided, and how.';
COMMENT ON COLUMN scoring.decisions.reason_codes IS 'What is unusual, in words for the reviewer.';
COMMENT ON COLUMN scoring.decisions.policy IS 'The policy in force.';
COMMENT ON COLUMN scoring.decisions.review_threshold IS 'Above it a transaction was reviewed.';
COMMENT ON COLUMN scoring.decisions.block_threshold IS 'Above it a transaction was blocked.';
COMMENT ON COLUMN scoring.decisions.model_versions IS 'The versions that scored it, as model/version.';
COMMENT ON COLUMN scoring.decisions.decided_at IS 'When it was decided, UTC.';

COMMENT ON COLUMN scoring.decision_revisions.sequence IS 'Place in the log, from 1, without gaps.';
COMMENT ON COLUMN scoring.decision_revisions.revision IS 'How often this transaction was decided in this channel, from 1.';
COMMENT ON COLUMN scoring.decision_revisions.action IS 'decided, or withdrawn: then the decision no longer stands, and its columns are empty.';
COMMENT ON COLUMN scoring.decision_revisions.policy_hash IS 'The policy in scoring.policy_versions; empty for what was decided before it was kept.';
COMMENT ON COLUMN scoring.decision_revisions.thresholds_hash IS 'The thresholds in scoring.policy_versions.';
COMMENT ON COLUMN scoring.decision_revisions.rules_hash IS 'The hard rules in scoring.policy_versions.';
COMMENT ON COLUMN scoring.decision_revisions.decided_at IS 'When it was decided or withdrawn, UTC.';
COMMENT ON COLUMN scoring.decision_revisions.previous_hash IS 'The entry_hash of the entry before in its chain; 64 zeros for the first.';
COMMENT ON COLUMN scoring.decision_revisions.shard IS 'With channel and event_date, which chain the entry is of; null for the one chain of earlier releases.';
COMMENT ON COLUMN scoring.decision_revisions.entry_hash IS 'SHA-256 over previous_hash and the canonical text of this entry, hexadecimal.';

COMMENT ON COLUMN scoring.decision_chain.sequence IS 'The last entry of an append.';
COMMENT ON COLUMN scoring.decision_chain.entries IS 'How many were appended.';
COMMENT ON COLUMN scoring.decision_chain.head_hash IS 'The hash of this seal, over the seal before and what this one names; without heads, that of the last entry.';
COMMENT ON COLUMN scoring.decision_chain.previous_root IS 'The head_hash of the seal before; 64 zeros for the first.';
COMMENT ON COLUMN scoring.decision_chain.heads IS 'channel/day/shard/entries/hash of the last entry, of each chain that grew, in the order of the numbers; null of earlier releases.';

COMMENT ON COLUMN scoring.policy_versions.hash IS 'SHA-256 of the content, hexadecimal.';
COMMENT ON COLUMN scoring.policy_versions.kind IS 'policy, thresholds or rules.';
COMMENT ON COLUMN scoring.policy_versions.content IS 'JSON with sorted keys and no spaces.';

COMMENT ON COLUMN feedback.labels.transaction_id IS 'The transaction.';
COMMENT ON COLUMN feedback.labels.source IS 'review or chargeback.';
COMMENT ON COLUMN feedback.labels.actual_fraud IS 'The verdict.';
COMMENT ON COLUMN feedback.labels.known_at IS 'When it became known, UTC; nothing as of an earlier moment uses it.';
COMMENT ON COLUMN feedback.labels.ingested_at IS 'When it was taken in, UTC.';
COMMENT ON COLUMN feedback.labels.reviewer IS 'Who gave it, where a person did.';
COMMENT ON COLUMN feedback.labels.comment IS 'What the reviewer noted, or the reason code of a chargeback.';

COMMENT ON COLUMN feedback.labels.reviewer_named_by IS 'login: the proxy before the page told the name; typed: the reviewer wrote it; null where neither is known.';

COMMENT ON COLUMN feedback.superseded_labels.transaction_id IS 'The transaction.';
COMMENT ON COLUMN feedback.superseded_labels.source IS 'review or chargeback.';
COMMENT ON COLUMN feedback.superseded_labels.actual_fraud IS 'The verdict that was corrected.';
COMMENT ON COLUMN feedback.superseded_labels.known_at IS 'From when it was known until the next of its source, UTC.';

COMMENT ON COLUMN feedback.decision_outcomes.outcome_date IS 'The UTC day on which the label became known.';
COMMENT ON COLUMN feedback.decision_outcomes.event_date IS 'The UTC day of the transaction.';
COMMENT ON COLUMN feedback.decision_outcomes.correct IS 'A block or review of fraud, or an approval of a legitimate payment.';

COMMENT ON COLUMN monitoring.model_performance.as_of IS 'Uses what was known at the end of this day.';
COMMENT ON COLUMN monitoring.model_performance.model_name IS 'A registered model, or policy:NAME for the decisions.';
COMMENT ON COLUMN monitoring.model_performance.window_start IS 'First event day judged.';
COMMENT ON COLUMN monitoring.model_performance.window_end IS 'Last event day judged: the labels of later ones are still to come.';
COMMENT ON COLUMN monitoring.model_performance.labelled IS 'Transactions with a label; the others count as legitimate.';
COMMENT ON COLUMN monitoring.model_performance.card_precision_at_k IS 'Share of compromised cards among the 100 a day that rank highest; mean over days.';
COMMENT ON COLUMN monitoring.model_performance.card_precision_ceiling IS 'What no ranking could exceed.';
COMMENT ON COLUMN monitoring.model_performance.value_detection_rate IS 'Share of the amount of all frauds that was alerted.';
COMMENT ON COLUMN monitoring.model_performance.cost IS 'Of alerts and missed frauds over the window, in currency units.';

COMMENT ON COLUMN monitoring.decision_thresholds.effective_date IS 'The first UTC day decided by it.';
COMMENT ON COLUMN monitoring.decision_thresholds.objective IS 'What it was tuned for.';
COMMENT ON COLUMN monitoring.decision_thresholds.evidence IS 'The window, the labels, the figures before and after, and the guards that bit, as JSON.';
COMMENT ON COLUMN monitoring.alerts.alert_id IS 'Hash of kind, day and subject: the same thing alerts once.';
COMMENT ON COLUMN monitoring.alerts.kind IS 'blocked, threshold, proposal, drift or failed_run.';
COMMENT ON COLUMN monitoring.alerts.event_date IS 'The UTC day it is about.';
COMMENT ON COLUMN monitoring.alerts.subject IS 'What it is about.';
COMMENT ON COLUMN monitoring.alerts.transaction_ids IS 'The blocked transactions it tells of.';
COMMENT ON COLUMN monitoring.alerts.delivered_at IS 'When the webhook took it, UTC.';
COMMENT ON COLUMN monitoring.alerts.attempts IS 'How often it was sent.';
COMMENT ON COLUMN monitoring.alerts.attempted_at IS 'When it was sent last, UTC.';
COMMENT ON COLUMN monitoring.alerts.error IS 'Why the last attempt failed.';

COMMENT ON COLUMN monitoring.feature_drift.psi IS 'Population stability index against the training window; above 0.25 is a shift, where chance doesn''t explain it.';
COMMENT ON COLUMN monitoring.feature_drift."rows" IS 'Transactions of the day.';
COMMENT ON COLUMN monitoring.feature_drift.reference_rows IS 'Transactions of the training window.';
COMMENT ON COLUMN monitoring.feature_drift.weekday_psi IS 'Population stability index against the same weekday of the weeks before; null while there are fewer than four.';
COMMENT ON COLUMN monitoring.feature_drift.compared_with IS 'The days that psi_expected and p_value compare with, or why the feature isn''t judged.';
COMMENT ON COLUMN monitoring.feature_drift.psi_expected IS 'What the index is on average without drift, given the number of rows and how these days differ among themselves.';
COMMENT ON COLUMN monitoring.feature_drift.p_value IS 'How often a day without drift lies so far from these days; null where that can''t be told.';
COMMENT ON COLUMN monitoring.feature_drift.drifted IS 'The index is above 0.25, and neither chance nor the usual differences of days explain it; of all features together, on 1 % of the days at most by mistake.';

COMMENT ON COLUMN features.daily_distributions.event_date IS 'The UTC day.';
COMMENT ON COLUMN features.daily_distributions.feature IS 'A column of features.transaction_features, or one of raw.transactions that the daily models use.';
COMMENT ON COLUMN features.daily_distributions."rows" IS 'Transactions of the day.';
COMMENT ON COLUMN features.daily_distributions.missing IS 'Those without a value.';
COMMENT ON COLUMN features.daily_distributions.low IS 'The lowest value of each piece; the same as the highest where it is of one value.';
COMMENT ON COLUMN features.daily_distributions.high IS 'The highest value of each piece.';
COMMENT ON COLUMN features.daily_distributions.counts IS 'Transactions in each piece, or with each text.';
COMMENT ON COLUMN features.daily_distributions.texts IS 'Of a text feature, its most frequent values; null for numbers.';

COMMENT ON COLUMN monitoring.model_performance.recall_lower_bound IS 'The recall, if as many missed frauds are never reported as FRAUD_UNREPORTED_SHARE says.';
COMMENT ON COLUMN monitoring.model_performance.exact IS 'Every score counts as it is. Of days with very many payments nearly equal scores are taken together: what depends on the ranking is then right to within .001.';
COMMENT ON COLUMN monitoring.model_performance.chargebacks_reported IS 'Share of the window''s chargebacks that is expected to be in; null while too few are known to tell.';
COMMENT ON COLUMN monitoring.model_performance.alerts_per_day IS 'Mean over the days of the window.';
COMMENT ON COLUMN monitoring.model_performance.alerts_labelled IS 'Alerts with a label.';
COMMENT ON COLUMN monitoring.model_performance.label_coverage IS 'Share of the transactions that has a label.';

-- The days too young to be judged: their labels are still to come.
CREATE TABLE IF NOT EXISTS monitoring.early_performance (
    as_of DATE NOT NULL,
    model_name VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    window_start DATE NOT NULL,
    window_end DATE NOT NULL,
    transactions BIGINT NOT NULL,
    labelled BIGINT NOT NULL,
    label_coverage DOUBLE,
    frauds BIGINT NOT NULL,
    alerts BIGINT NOT NULL,
    alerts_per_day DOUBLE,
    alerts_labelled BIGINT NOT NULL,
    "precision" DOUBLE,
    precision_low DOUBLE,
    precision_high DOUBLE,
    precision_at_least DOUBLE,
    precision_at_most DOUBLE,
    audited BIGINT,
    audited_frauds BIGINT,
    frauds_let_through DOUBLE,
    frauds_let_through_low DOUBLE,
    frauds_let_through_high DOUBLE,
    recall_audited DOUBLE,
    recall_audited_low DOUBLE,
    recall_audited_high DOUBLE,
    value_lost_audited DOUBLE,
    value_lost_audited_low DOUBLE,
    value_lost_audited_high DOUBLE
);
COMMENT ON TABLE monitoring.early_performance IS 'An early reading of the days that have not matured, by the labels known so far.';
COMMENT ON COLUMN monitoring.early_performance.as_of IS 'Uses what was known at the end of this day.';
COMMENT ON COLUMN monitoring.early_performance.model_name IS 'A registered model, or policy:NAME for the decisions.';
COMMENT ON COLUMN monitoring.early_performance.window_start IS 'The first event day that has not matured.';
COMMENT ON COLUMN monitoring.early_performance.window_end IS 'The day itself.';
COMMENT ON COLUMN monitoring.early_performance.frauds IS 'Known so far.';
COMMENT ON COLUMN monitoring.early_performance."precision" IS 'Of the alerts that have a label.';
COMMENT ON COLUMN monitoring.early_performance.precision_low IS '95 % interval, together with precision_high.';
COMMENT ON COLUMN monitoring.early_performance.precision_at_least IS 'Of all alerts, if none of those without a label is fraud.';
COMMENT ON COLUMN monitoring.early_performance.precision_at_most IS 'Of all alerts, if each of those without a label is fraud.';

COMMENT ON COLUMN feedback.labels.scenario IS 'The kind of fraud, where a reviewer or bank names it.';

-- Which kinds of fraud are caught, where labels name them.
CREATE TABLE IF NOT EXISTS monitoring.scenario_performance (
    as_of DATE NOT NULL,
    model_name VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    scenario VARCHAR NOT NULL,
    window_start DATE NOT NULL,
    window_end DATE NOT NULL,
    frauds BIGINT NOT NULL,
    caught BIGINT NOT NULL,
    recall DOUBLE,
    amount DOUBLE NOT NULL,
    amount_caught DOUBLE NOT NULL
);
COMMENT ON TABLE monitoring.scenario_performance IS 'Recall by kind of fraud over the matured window; empty while no label names a kind.';
COMMENT ON COLUMN monitoring.scenario_performance.as_of IS 'Uses what was known at the end of this day.';
COMMENT ON COLUMN monitoring.scenario_performance.model_name IS 'A registered model, or policy:NAME for the decisions.';
COMMENT ON COLUMN monitoring.scenario_performance.scenario IS 'As labels name it; unnamed for known frauds without a name.';
COMMENT ON COLUMN monitoring.scenario_performance.frauds IS 'Known ones.';
COMMENT ON COLUMN monitoring.scenario_performance.caught IS 'Of them, alerted.';
COMMENT ON COLUMN monitoring.scenario_performance.amount IS 'Of the known frauds, in currency units.';
COMMENT ON COLUMN monitoring.scenario_performance.amount_caught IS 'Of the alerted ones.';

-- Tuned thresholds are put in force (FRAUD_TUNING_MODE=auto), or wait here for a person (propose).
COMMENT ON COLUMN monitoring.decision_thresholds.origin IS 'tuned; kept: carried over while a proposal waits; accepted or set by a person.';
COMMENT ON COLUMN monitoring.decision_thresholds.decided_by IS 'Who accepted or set it.';
COMMENT ON COLUMN monitoring.decision_thresholds.reason IS 'Why a person set it, or the proposal that was accepted.';

CREATE TABLE IF NOT EXISTS monitoring.threshold_proposals (
    as_of DATE NOT NULL,
    policy VARCHAR NOT NULL,
    current_review_threshold DOUBLE NOT NULL,
    review_threshold DOUBLE NOT NULL,
    block_threshold DOUBLE NOT NULL,
    contamination DOUBLE NOT NULL,
    objective VARCHAR NOT NULL,
    evidence VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    accepted_by VARCHAR,
    accepted_at TIMESTAMP,
    effective_date DATE
);
COMMENT ON COLUMN monitoring.threshold_proposals.as_of IS 'Uses what was known at the end of this day.';
COMMENT ON COLUMN monitoring.threshold_proposals.current_review_threshold IS 'In force on that day.';
COMMENT ON COLUMN monitoring.threshold_proposals.review_threshold IS 'The proposed one.';
COMMENT ON COLUMN monitoring.threshold_proposals.evidence IS 'As in monitoring.decision_thresholds.';
COMMENT ON COLUMN monitoring.threshold_proposals.status IS 'open, accepted, superseded by a later one, or no_change.';
COMMENT ON COLUMN monitoring.threshold_proposals.effective_date IS 'The first UTC day decided by it, once it is accepted.';

-- The stream.
-- What is in shadow beside what is in force, on the same payments and by the same estimates.
CREATE TABLE IF NOT EXISTS monitoring.shadow_performance (
    as_of DATE NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    arm VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    window_start DATE NOT NULL,
    window_end DATE NOT NULL,
    days BIGINT NOT NULL,
    transactions BIGINT NOT NULL,
    labelled BIGINT NOT NULL,
    frauds BIGINT NOT NULL,
    hits BIGINT NOT NULL,
    alerts BIGINT NOT NULL,
    blocks BIGINT NOT NULL,
    alerts_per_day DOUBLE,
    chargebacks_reported DOUBLE,
    precision DOUBLE,
    precision_low DOUBLE,
    precision_high DOUBLE,
    recall DOUBLE,
    recall_low DOUBLE,
    recall_high DOUBLE,
    f1 DOUBLE,
    f1_low DOUBLE,
    f1_high DOUBLE,
    value_detection_rate DOUBLE,
    value_detection_rate_low DOUBLE,
    value_detection_rate_high DOUBLE,
    cost DOUBLE,
    cost_low DOUBLE,
    cost_high DOUBLE,
    recall_lower_bound DOUBLE
);
COMMENT ON TABLE monitoring.shadow_performance IS 'How what is in shadow would have done beside what was in force.';
COMMENT ON COLUMN monitoring.shadow_performance.as_of IS 'Labels known at the end of this day.';
COMMENT ON COLUMN monitoring.shadow_performance.kind IS 'rule or policy.';
COMMENT ON COLUMN monitoring.shadow_performance.name IS 'The name of what is in shadow.';
COMMENT ON COLUMN monitoring.shadow_performance.channel IS 'batch or stream.';
COMMENT ON COLUMN monitoring.shadow_performance.arm IS 'shadow: as if it decided; in force: as was decided on the same payments.';
COMMENT ON COLUMN monitoring.shadow_performance.version IS 'SHA-256 of its content; days of another version are not among the days.';
COMMENT ON COLUMN monitoring.shadow_performance.window_start IS 'The first of the days compared.';
COMMENT ON COLUMN monitoring.shadow_performance.window_end IS 'The last of them.';
COMMENT ON COLUMN monitoring.shadow_performance.days IS 'Days of the window of which it was asked of every payment.';
COMMENT ON COLUMN monitoring.shadow_performance.transactions IS 'Payments of these days.';
COMMENT ON COLUMN monitoring.shadow_performance.labelled IS 'Of them those with a label.';
COMMENT ON COLUMN monitoring.shadow_performance.frauds IS 'Of them known frauds.';
COMMENT ON COLUMN monitoring.shadow_performance.hits IS 'Payments that the rule holds for, or that the policy alerts; in force: alerts.';
COMMENT ON COLUMN monitoring.shadow_performance.alerts IS 'Payments reviewed or blocked.';
COMMENT ON COLUMN monitoring.shadow_performance.blocks IS 'Payments blocked.';
COMMENT ON COLUMN monitoring.shadow_performance.alerts_per_day IS 'Alerts a day.';
COMMENT ON COLUMN monitoring.shadow_performance.chargebacks_reported IS 'The share of the chargebacks that is expected to be in.';
COMMENT ON COLUMN monitoring.shadow_performance.precision IS 'Share of frauds among the alerts, of all that are ever reported.';
COMMENT ON COLUMN monitoring.shadow_performance.precision_low IS '95 % interval, together with precision_high.';
COMMENT ON COLUMN monitoring.shadow_performance.precision_high IS '95 % interval, together with precision_low.';
COMMENT ON COLUMN monitoring.shadow_performance.recall IS 'Share of the frauds that are alerted, of all that are ever reported.';
COMMENT ON COLUMN monitoring.shadow_performance.recall_low IS '95 % interval, together with recall_high.';
COMMENT ON COLUMN monitoring.shadow_performance.recall_high IS '95 % interval, together with recall_low.';
COMMENT ON COLUMN monitoring.shadow_performance.f1 IS 'Their harmonic mean.';
COMMENT ON COLUMN monitoring.shadow_performance.f1_low IS '95 % interval, together with f1_high.';
COMMENT ON COLUMN monitoring.shadow_performance.f1_high IS '95 % interval, together with f1_low.';
COMMENT ON COLUMN monitoring.shadow_performance.value_detection_rate IS 'Share of the frauds'' value that is alerted.';
COMMENT ON COLUMN monitoring.shadow_performance.value_detection_rate_low IS '95 % interval, together with value_detection_rate_high.';
COMMENT ON COLUMN monitoring.shadow_performance.value_detection_rate_high IS '95 % interval, together with value_detection_rate_low.';
COMMENT ON COLUMN monitoring.shadow_performance.cost IS 'Of the alerts and of missed frauds, by the policy in force, over the window.';
COMMENT ON COLUMN monitoring.shadow_performance.cost_low IS '95 % interval, together with cost_high.';
COMMENT ON COLUMN monitoring.shadow_performance.cost_high IS '95 % interval, together with cost_low.';
COMMENT ON COLUMN monitoring.shadow_performance.recall_lower_bound IS 'The recall if as many missed frauds are never reported as FRAUD_UNREPORTED_SHARE says.';

-- The weekly report: a row a figure.
CREATE TABLE IF NOT EXISTS monitoring.weekly_figures (
    week DATE NOT NULL,
    part VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    subject VARCHAR NOT NULL,
    figure VARCHAR NOT NULL,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    cases BIGINT,
    untold VARCHAR
);
COMMENT ON TABLE monitoring.weekly_figures IS 'The figures of each week''s report, by what was known when it ended.';
COMMENT ON COLUMN monitoring.weekly_figures.week IS 'The Monday of the week.';
COMMENT ON COLUMN monitoring.weekly_figures.part IS 'The table of the report.';
COMMENT ON COLUMN monitoring.weekly_figures.position IS 'The place of the row in its table, from 0 on.';
COMMENT ON COLUMN monitoring.weekly_figures.subject IS 'What the row is about.';
COMMENT ON COLUMN monitoring.weekly_figures.figure IS 'The heading of the figure.';
COMMENT ON COLUMN monitoring.weekly_figures.value IS 'The figure; null where it isn''t told. Shares and rates from 0 to 1, amounts in the base currency.';
COMMENT ON COLUMN monitoring.weekly_figures.low IS '95 % interval, together with high.';
COMMENT ON COLUMN monitoring.weekly_figures.high IS '95 % interval, together with low.';
COMMENT ON COLUMN monitoring.weekly_figures.cases IS 'How many cases it rests on.';
COMMENT ON COLUMN monitoring.weekly_figures.untold IS 'Why it isn''t told.';

CREATE SCHEMA IF NOT EXISTS streaming;

CREATE TABLE IF NOT EXISTS streaming.processed_batches (
    batch_id VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    transactions BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    first_position BIGINT NOT NULL,
    processed_at TIMESTAMP NOT NULL,
    refunds BIGINT DEFAULT 0,
    left_out BIGINT DEFAULT 0
);

-- The refunds of the stream, which it folds where an aggregate asks for them, and doesn't decide.
CREATE TABLE IF NOT EXISTS streaming.refunds (
    batch_id VARCHAR NOT NULL,
    transaction_id VARCHAR NOT NULL,
    event_date DATE NOT NULL,
    position BIGINT NOT NULL
);
COMMENT ON COLUMN streaming.refunds.batch_id IS 'The batch it came with.';
COMMENT ON COLUMN streaming.refunds.transaction_id IS 'The refund, in raw.transactions.';
COMMENT ON COLUMN streaming.refunds.event_date IS 'The UTC day of the refund.';
COMMENT ON COLUMN streaming.refunds.position IS 'How many transactions the stream had decided before its batch.';

-- The day whose histories those of the stream go on from; one row, null before the first day was derived.
CREATE TABLE IF NOT EXISTS streaming.history_base (
    event_date DATE
);

CREATE TABLE IF NOT EXISTS streaming.stream_agreement (
    event_date DATE NOT NULL,
    transactions BIGINT NOT NULL,
    streamed BIGINT NOT NULL,
    compared BIGINT NOT NULL,
    agreeing BIGINT NOT NULL,
    alerts_batch BIGINT NOT NULL,
    alerts_stream BIGINT NOT NULL,
    alerts_both BIGINT NOT NULL,
    collecting BIGINT NOT NULL,
    differing_features BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS streaming.feature_differences (
    event_date DATE NOT NULL,
    feature VARCHAR NOT NULL,
    compared BIGINT NOT NULL,
    differing BIGINT NOT NULL,
    null_in_one BIGINT NOT NULL,
    mean_difference DOUBLE,
    max_difference DOUBLE
);

COMMENT ON COLUMN streaming.processed_batches.batch_id IS 'SHA-256 of the content: a batch counts once, under whatever name it comes. With "delivery 2" behind it: rows that the clock had turned away, and a second delivery brought.';
COMMENT ON COLUMN streaming.processed_batches.source IS 'The file, or the broker''s topic, partition and offsets.';
COMMENT ON COLUMN streaming.processed_batches.transactions IS 'Rows read; accepted + rejected + left_out. A row that the clock had turned away counts with the delivery that brought it in.';
COMMENT ON COLUMN streaming.processed_batches.accepted IS 'Rows stored; all but refunds were decided.';
COMMENT ON COLUMN streaming.processed_batches.refunds IS 'Refunds among the accepted; they are not decided.';
COMMENT ON COLUMN streaming.processed_batches.left_out IS 'Rows in raw.left_out_rows.';
COMMENT ON COLUMN streaming.processed_batches.rejected IS 'Rows in raw.rejected_transactions, repeats among them.';
COMMENT ON COLUMN streaming.processed_batches.first_position IS 'How many transactions the stream had decided before these.';
COMMENT ON COLUMN streaming.processed_batches.processed_at IS 'When it was committed, UTC.';

COMMENT ON COLUMN streaming.stream_agreement.event_date IS 'The UTC day of the transactions.';
COMMENT ON COLUMN streaming.stream_agreement.transactions IS 'Transactions of the day, however they came.';
COMMENT ON COLUMN streaming.stream_agreement.streamed IS 'Those the stream decided.';
COMMENT ON COLUMN streaming.stream_agreement.compared IS 'Those that both the stream and the batch decided.';
COMMENT ON COLUMN streaming.stream_agreement.agreeing IS 'Of the compared, those decided alike.';
COMMENT ON COLUMN streaming.stream_agreement.alerts_batch IS 'Of the compared, those the batch reviewed or blocked.';
COMMENT ON COLUMN streaming.stream_agreement.alerts_stream IS 'Of the compared, those the stream reviewed or blocked.';
COMMENT ON COLUMN streaming.stream_agreement.alerts_both IS 'Of the compared, those both reviewed or blocked.';
COMMENT ON COLUMN streaming.stream_agreement.collecting IS 'Of the streamed, those approved before the detector had learned.';
COMMENT ON COLUMN streaming.stream_agreement.differing_features IS 'Features that differ on some transaction.';

COMMENT ON COLUMN streaming.feature_differences.event_date IS 'The UTC day of the transactions.';
COMMENT ON COLUMN streaming.feature_differences.feature IS 'A column of features.transaction_features.';
COMMENT ON COLUMN streaming.feature_differences.compared IS 'Transactions that have it from the stream and from the batch.';
COMMENT ON COLUMN streaming.feature_differences.differing IS 'Those on which the two aren''t equal to the bit.';
COMMENT ON COLUMN streaming.feature_differences.null_in_one IS 'Of these, those on which one of the two is unknown.';
COMMENT ON COLUMN streaming.feature_differences.mean_difference IS 'Mean absolute difference of the others that differ.';
COMMENT ON COLUMN streaming.feature_differences.max_difference IS 'The largest absolute difference.';

-- Which version of a model was in use on a day, and why.
CREATE TABLE IF NOT EXISTS monitoring.model_promotions (
    as_of DATE NOT NULL,
    model_name VARCHAR NOT NULL,
    candidate_version INTEGER NOT NULL,
    champion_version INTEGER,
    previous_champion INTEGER,
    rule VARCHAR NOT NULL,
    decision VARCHAR NOT NULL,
    evidence VARCHAR NOT NULL,
    inputs VARCHAR,
    deciding_model VARCHAR,
    trained_features VARCHAR,
    trained_frauds BIGINT
);
COMMENT ON COLUMN monitoring.model_promotions.as_of IS 'The UTC day that the version in use scores.';
COMMENT ON COLUMN monitoring.model_promotions.model_name IS 'The registered model in MLflow; second_stage in the row that says which model decides the day.';
COMMENT ON COLUMN monitoring.model_promotions.candidate_version IS 'The version that was trained for the day.';
COMMENT ON COLUMN monitoring.model_promotions.champion_version IS 'The version in use; null: none yet, and the candidate scores so that it can be judged.';
COMMENT ON COLUMN monitoring.model_promotions.previous_champion IS 'The version in use before.';
COMMENT ON COLUMN monitoring.model_promotions.rule IS 'What decided: pinned, no_rival, bootstrap, supervised, labels or stability; of second_stage few_frauds, too_early, amount, best or kept.';
COMMENT ON COLUMN monitoring.model_promotions.decision IS 'promoted, refused, withdrawn or pinned; of second_stage chosen.';
COMMENT ON COLUMN monitoring.model_promotions.evidence IS 'The figures the decision rests on, as JSON.';
COMMENT ON COLUMN monitoring.model_promotions.inputs IS 'A digest of the versions and rows that the figures were computed from; null where another rule decided.';
COMMENT ON COLUMN monitoring.model_promotions.deciding_model IS 'The model that decides the day; in the row of second_stage alone.';
COMMENT ON COLUMN monitoring.model_promotions.trained_features IS 'The features that the version which scores the day reads, with commas between.';
COMMENT ON COLUMN monitoring.model_promotions.trained_frauds IS 'Known frauds that this version learned from; null of a model that learns without labels.';

-- Which model decides each day, and how each that could have ranked the matured days: a row for each of them, and one
-- without a contestant where nothing was judged.
CREATE OR REPLACE VIEW monitoring.contestants AS
    WITH chosen AS (
        SELECT as_of, deciding_model, rule,
               map_entries(from_json(
                   json_extract(evidence, '$.contestants'),
                   '"MAP(VARCHAR, STRUCT(average_precision DOUBLE, gain_over_amount STRUCT(days INTEGER, mean DOUBLE, low DOUBLE, high DOUBLE), beats_amount BOOLEAN))"'
               )) AS judged
        FROM monitoring.model_promotions
        WHERE deciding_model IS NOT NULL
    ), each_of AS (
        SELECT as_of, deciding_model, rule, unnest(CASE WHEN len(judged) > 0 THEN judged ELSE [NULL] END) AS contestant
        FROM chosen
    )
    SELECT as_of, deciding_model, rule, contestant.key AS model_name, contestant.value.gain_over_amount.days AS days,
           contestant.value.average_precision AS average_precision,
           contestant.value.gain_over_amount.mean AS gain_over_amount,
           contestant.value.gain_over_amount.low AS gain_over_amount_low,
           contestant.value.gain_over_amount.high AS gain_over_amount_high,
           contestant.value.beats_amount AS beats_amount
    FROM each_of;
COMMENT ON COLUMN monitoring.contestants.as_of IS 'The UTC day that is decided.';
COMMENT ON COLUMN monitoring.contestants.deciding_model IS 'The model that decides it.';
COMMENT ON COLUMN monitoring.contestants.rule IS 'Why: few_frauds, too_early, amount, best or kept.';
COMMENT ON COLUMN monitoring.contestants.model_name IS 'A model that was judged; null where none was.';
COMMENT ON COLUMN monitoring.contestants.days IS 'Matured days that it and the amount were compared on.';
COMMENT ON COLUMN monitoring.contestants.average_precision IS 'Mean over these days, each half as much for every seven days that it is older.';
COMMENT ON COLUMN monitoring.contestants.gain_over_amount IS 'Average precision of a day minus that of the amount alone; mean in the same way.';
COMMENT ON COLUMN monitoring.contestants.gain_over_amount_low IS 'Lower end of its 95 % interval, by bootstrap over days.';
COMMENT ON COLUMN monitoring.contestants.gain_over_amount_high IS 'Upper end.';
COMMENT ON COLUMN monitoring.contestants.beats_amount IS 'Whether the lower end lies above 0: only then may it decide.';
COMMENT ON VIEW monitoring.contestants IS 'Which model decides each day, and how each that could have ranked the matured days, by average precision.';

-- The scores that decisions are made by, both stages in a row, of the days from first_day to last_day. Where the second
-- stage gave no score, the ensemble stands in for it. The source is named as a table is.
CREATE OR REPLACE MACRO scoring.stages_of(
    source, of_channel, first_day, last_day, screening_model, second_stage, ensemble_model
) AS TABLE
    SELECT transaction_id,
           event_date,
           max(score) FILTER (model_name = screening_model) AS screening_score,
           max(raw_score) FILTER (model_name = screening_model) AS screening_raw_score,
           screening_model || '/' || max(model_version) FILTER (model_name = screening_model) AS screening_version,
           coalesce(max(score) FILTER (model_name = second_stage),
                    max(score) FILTER (model_name = ensemble_model)) AS second_stage_score,
           coalesce(max(raw_score) FILTER (model_name = second_stage),
                    max(raw_score) FILTER (model_name = ensemble_model)) AS second_stage_raw_score,
           coalesce(second_stage || '/' || max(model_version) FILTER (model_name = second_stage),
                    ensemble_model || '/' || max(model_version) FILTER (model_name = ensemble_model)) AS second_stage_version
    FROM query_table(source)
    WHERE channel = of_channel
      AND event_date BETWEEN first_day AND last_day
      AND model_name IN (screening_model, second_stage, ensemble_model)
    GROUP BY transaction_id, event_date;

CREATE OR REPLACE MACRO scoring.stage_scores(
    of_channel, first_day, last_day, screening_model, second_stage, ensemble_model
) AS TABLE
    FROM scoring.stages_of(
        'scoring.transaction_scores', of_channel, first_day, last_day, screening_model, second_stage, ensemble_model
    );

-- The models of a day side by side, over the days whose labels have had time to arrive.
CREATE TABLE IF NOT EXISTS monitoring.model_comparison (
    as_of DATE NOT NULL,
    model_name VARCHAR NOT NULL,
    window_start DATE NOT NULL,
    window_end DATE NOT NULL,
    "rank" INTEGER,
    days BIGINT NOT NULL,
    transactions BIGINT NOT NULL,
    frauds BIGINT NOT NULL,
    alerts BIGINT NOT NULL,
    "precision" DOUBLE,
    recall DOUBLE,
    average_precision DOUBLE,
    average_precision_low DOUBLE,
    average_precision_high DOUBLE,
    gain_over_amount DOUBLE,
    gain_over_amount_low DOUBLE,
    gain_over_amount_high DOUBLE,
    roc_auc DOUBLE,
    card_precision_at_k DOUBLE,
    card_precision_ceiling DOUBLE,
    value_detection_rate DOUBLE,
    recall_low DOUBLE,
    recall_high DOUBLE,
    recall_lower_bound DOUBLE
);
COMMENT ON COLUMN monitoring.model_comparison.as_of IS 'Uses what was known at the end of this day.';
COMMENT ON COLUMN monitoring.model_comparison.model_name IS 'A registered model, or amount: the ranking by amount alone, which every model should beat.';
COMMENT ON COLUMN monitoring.model_comparison."rank" IS 'By average precision, 1 is the best; null while no fraud is known.';
COMMENT ON COLUMN monitoring.model_comparison.days IS 'Days of the window that the model scored.';
COMMENT ON COLUMN monitoring.model_comparison.gain_over_amount IS 'Average precision of a day minus that of amount alone; mean over the days with a fraud that both scored.';
COMMENT ON COLUMN monitoring.model_comparison.card_precision_at_k IS 'Share of compromised cards among the 100 a day that rank highest; mean over days.';
COMMENT ON COLUMN monitoring.model_comparison.card_precision_ceiling IS 'What no ranking could exceed.';
CREATE TABLE IF NOT EXISTS streaming.kafka_offsets (
    topic VARCHAR NOT NULL,
    partition INTEGER NOT NULL,
    next_offset BIGINT NOT NULL
);
COMMENT ON TABLE streaming.kafka_offsets IS 'Where each partition of a topic is read from next: what lies before is committed.';

-- Every column is described: these sentences are the columns' in the Dagster UI.
COMMENT ON COLUMN raw.rejected_transactions.source IS 'The file it came with.';
COMMENT ON COLUMN raw.rejected_transactions.row_number IS 'Which row of the file, from 1.';
COMMENT ON COLUMN raw.rejected_transactions.reason IS 'Why it was rejected.';
COMMENT ON COLUMN raw.rejected_transactions.payload IS 'The row as it came, as JSON.';
COMMENT ON COLUMN raw.rejected_transactions.rejected_at IS 'When it was rejected, UTC.';

COMMENT ON COLUMN raw.landed_files.content_hash IS 'SHA-256 of the content: a file counts once, under whatever name it comes.';
COMMENT ON COLUMN raw.landed_files.mapping_hash IS 'Hash of the mapping it was read through; empty without one.';
COMMENT ON COLUMN raw.landed_files.kind IS 'transactions or labels.';
COMMENT ON COLUMN raw.landed_files.source IS 'The name of the file.';
COMMENT ON COLUMN raw.landed_files.rows_read IS 'Rows in the file.';
COMMENT ON COLUMN raw.landed_files.rows_accepted IS 'Rows stored.';
COMMENT ON COLUMN raw.landed_files.rows_rejected IS 'Rows kept apart with their reason.';
COMMENT ON COLUMN raw.landed_files.landed_at IS 'When it was taken in, UTC.';
COMMENT ON COLUMN raw.landed_files.rows_left_out IS 'Rows that the mapping leaves out, in raw.left_out_rows.';

COMMENT ON COLUMN raw.base_currency.currency IS 'The currency of raw.transactions.amount, where currencies are declared.';
COMMENT ON COLUMN raw.exchange_rates.rate_date IS 'The UTC day from which the rate is used, until that of the next one.';
COMMENT ON COLUMN raw.exchange_rates.currency IS 'The currency, by its code of three letters.';
COMMENT ON COLUMN raw.exchange_rates.rate IS 'Units of the base currency that one unit is worth.';
COMMENT ON COLUMN features.plan_versions.plan_version IS 'A hash of what is computed, and of which rows are accepted.';
COMMENT ON COLUMN features.plan_versions.content IS 'The declarations as YAML that stands by itself; words are as they were when the version was first used.';
COMMENT ON COLUMN features.derived_days.event_date IS 'The UTC day.';
COMMENT ON COLUMN features.derived_days.plan_version IS 'The version of the declarations that its features were computed by.';
COMMENT ON COLUMN scoring.decisions.plan_version IS 'The version of the declarations that the features were computed by; null before there were any.';
COMMENT ON COLUMN scoring.decisions.audited IS 'Whether the audit sample drew the approved payment for review; null of alerts, and where the policy has no sample.';
COMMENT ON COLUMN scoring.decisions.audit_probability IS 'With what probability it was drawn, or might have been: it stands for 1 / audit_probability payments.';
COMMENT ON COLUMN scoring.audited_payments.transaction_id IS 'The transaction.';
COMMENT ON COLUMN scoring.audited_payments.event_date IS 'The UTC day of the transaction.';
COMMENT ON COLUMN scoring.audited_payments.channel IS 'batch: the sample is drawn at the end of the day.';
COMMENT ON COLUMN scoring.audited_payments.audit_probability IS 'With what probability it was drawn: it stands for 1 / audit_probability payments.';
COMMENT ON COLUMN scoring.decision_revisions.audited IS 'Whether the audit sample drew the approved payment for review; null of alerts, and where the policy has no sample.';
COMMENT ON COLUMN scoring.decision_revisions.audit_probability IS 'With what probability it was drawn, or might have been.';
COMMENT ON COLUMN scoring.decision_revisions.plan_version IS 'The version of the declarations that the features were computed by; null before there were any.';
COMMENT ON COLUMN features.population.event_date IS 'The UTC day of the payments.';
COMMENT ON COLUMN features.population.measured IS 'The column that a profile is about, and which payments it counts.';
COMMENT ON COLUMN features.population.category IS 'The merchant category; null where it is unknown.';
COMMENT ON COLUMN features.population.bin IS 'Which values: 32 bins make a power of two, see fraud_pipelines/features/population.py.';
COMMENT ON COLUMN features.population.payments IS 'How many payments of the day have such a value.';
COMMENT ON COLUMN features.entity_starts.entity IS 'The entity, by its name in the declarations.';
COMMENT ON COLUMN features.entity_starts.declaration IS 'What is kept of it: a hash of the declaration.';
COMMENT ON COLUMN features.entity_starts.first_day IS 'The first day that was folded; null for all there were.';
COMMENT ON COLUMN features.entity_starts.rebuilt_through IS 'While it is rebuilt from the first stored day on, the last day this has reached.';
COMMENT ON COLUMN raw.stale_days.event_date IS 'The UTC day that needs a rerun.';
COMMENT ON COLUMN raw.stale_days.reason IS 'What came after the day was run.';
COMMENT ON COLUMN raw.stale_days.marked_at IS 'When it was found, UTC.';

COMMENT ON COLUMN scoring.decision_revisions.transaction_id IS 'The transaction.';
COMMENT ON COLUMN scoring.decision_revisions.channel IS 'batch: decided at the end of the day; stream: as it came.';
COMMENT ON COLUMN scoring.decision_revisions.event_date IS 'The UTC day of the transaction.';
COMMENT ON COLUMN scoring.decision_revisions.decision IS 'approve, review or block.';
COMMENT ON COLUMN scoring.decision_revisions.score IS 'Of the model that decided.';
COMMENT ON COLUMN scoring.decision_revisions.reason IS 'Which stage decided, and how.';
COMMENT ON COLUMN scoring.decision_revisions.reason_codes IS 'What is unusual, in words for the reviewer.';
COMMENT ON COLUMN scoring.decision_revisions.policy IS 'The policy in force.';
COMMENT ON COLUMN scoring.decision_revisions.review_threshold IS 'Above it a transaction was reviewed.';
COMMENT ON COLUMN scoring.decision_revisions.block_threshold IS 'Above it a transaction was blocked.';
COMMENT ON COLUMN scoring.decision_revisions.model_versions IS 'The versions that scored it, as model/version.';
COMMENT ON COLUMN scoring.decision_chain.channel IS 'batch or stream: who appended.';
COMMENT ON COLUMN scoring.decision_chain.appended_at IS 'When the entries were appended, UTC.';
COMMENT ON COLUMN scoring.policy_versions.first_used_at IS 'When it first decided a transaction, UTC.';

COMMENT ON COLUMN scoring.alert_precision.score_band IS 'Which twentieth of the score, from 0.';
COMMENT ON COLUMN scoring.alert_precision.judged IS 'Alerts of this band that a reviewer has judged.';
COMMENT ON COLUMN scoring.alert_precision.frauds IS 'Of them, those that were fraud.';
COMMENT ON COLUMN scoring.alert_precision.scale IS 'What the score is multiplied by, to be right on average over all that was judged.';
COMMENT ON COLUMN scoring.review_queue.transaction_id IS 'The transaction.';
COMMENT ON COLUMN scoring.review_queue.channel IS 'batch or stream: the channel that was stricter with it.';
COMMENT ON COLUMN scoring.review_queue.event_date IS 'The UTC day of the transaction.';
COMMENT ON COLUMN scoring.review_queue.decision IS 'review or block; approve of what the audit sample drew.';
COMMENT ON COLUMN scoring.review_queue.score IS 'Of the model that decided.';
COMMENT ON COLUMN scoring.review_queue.amount IS 'In the currency of the source.';
COMMENT ON COLUMN scoring.review_queue.user_id IS 'Who paid.';
COMMENT ON COLUMN scoring.review_queue."timestamp" IS 'When it happened, UTC.';
COMMENT ON COLUMN scoring.review_queue.reason IS 'Which stage decided, and how.';
COMMENT ON COLUMN scoring.review_queue.reason_codes IS 'What is unusual, in words for the reviewer.';
COMMENT ON COLUMN scoring.review_queue.model_versions IS 'The versions that scored it, as model/version.';
COMMENT ON COLUMN scoring.review_queue.fraud_probability IS 'That of the deciding model''s score as known when the day began, see monitoring.score_probabilities; until that is known, of like alerts that were judged, see scoring.alert_precision.';
COMMENT ON COLUMN scoring.review_queue.expected_loss IS 'fraud_probability × amount: the queue is ordered by it.';
COMMENT ON COLUMN scoring.review_queue.probability_as_of IS 'The evening whose monitoring.score_probabilities it goes by; null where it is estimated from verdicts alone.';
COMMENT ON COLUMN scoring.review_queue.audited IS 'Whether the audit sample drew it: no alert, but approved, and reviewed all the same.';
COMMENT ON COLUMN scoring.review_queue.decided_at IS 'When it was decided, UTC: it waits since then.';
COMMENT ON COLUMN feedback.cases.case_id IS 'The case: a digest of column_name, number and value.';
COMMENT ON COLUMN feedback.cases.column_name IS 'The column of a transaction that names whom the case is about.';
COMMENT ON COLUMN feedback.cases.value IS 'The value of that column, as text.';
COMMENT ON COLUMN feedback.cases.number IS 'Which case of this value, from 1.';
COMMENT ON COLUMN feedback.cases.state IS 'open, waiting (for something outside) or closed.';
COMMENT ON COLUMN feedback.cases.outcome IS 'Of a closed case: fraud, legitimate or unclear.';
COMMENT ON COLUMN feedback.cases.opened_at IS 'When somebody first did something with it, UTC.';
COMMENT ON COLUMN feedback.cases.changed_at IS 'When somebody last did something with it, UTC.';
COMMENT ON COLUMN feedback.cases.claimed_by IS 'Who works on it now; null where nobody does, or the claim has expired.';
COMMENT ON COLUMN feedback.cases.claimed_until IS 'When that claim expires, UTC.';
COMMENT ON COLUMN feedback.cases.waiting_until IS 'Until when it waits, UTC; from then on it is open again.';
COMMENT ON COLUMN feedback.cases.due_set IS 'The due time that a person set, UTC; else it follows from the severity.';
COMMENT ON COLUMN feedback.cases.escalated IS 'Whether somebody escalated it.';
COMMENT ON COLUMN feedback.cases.proposed_outcome IS 'What the first reviewer says, where a second one has to agree.';
COMMENT ON COLUMN feedback.cases.proposed_by IS 'That reviewer.';
COMMENT ON COLUMN feedback.cases.proposed_transactions IS 'The payments that the proposal is about.';
COMMENT ON COLUMN feedback.cases.judged_transactions IS 'The payments that were judged in the case.';
COMMENT ON COLUMN feedback.cases.unclear_transactions IS 'Of a case that was closed without an answer: the payments that have none, and wait no longer.';
COMMENT ON COLUMN feedback.cases.closed_at IS 'When it was closed, UTC.';
COMMENT ON COLUMN feedback.cases.closed_by IS 'Who closed it; null where the name was erased.';
COMMENT ON COLUMN feedback.cases.tags IS 'Its tags.';
COMMENT ON COLUMN feedback.cases.last_sequence IS 'The last of its events.';
COMMENT ON COLUMN scoring.decision_probabilities.transaction_id IS 'The transaction.';
COMMENT ON COLUMN scoring.decision_probabilities.channel IS 'batch: decided at the end of the day; stream: as it came.';
COMMENT ON COLUMN scoring.decision_probabilities.event_date IS 'The UTC day of the transaction.';
COMMENT ON COLUMN scoring.decision_probabilities.decision IS 'approve, review or block.';
COMMENT ON COLUMN scoring.decision_probabilities.score IS 'Of the model that decided.';
COMMENT ON COLUMN scoring.decision_probabilities.model_name IS 'The model that decided.';
COMMENT ON COLUMN scoring.decision_probabilities.as_of IS 'The evening whose probabilities were in force; null while none were known.';
COMMENT ON COLUMN scoring.decision_probabilities.fraud_probability IS 'Probability that it is, or will be, known as fraud; null while none was known.';
COMMENT ON COLUMN monitoring.probability_curves.as_of IS 'The evening they were told; in force on the day after.';
COMMENT ON COLUMN monitoring.probability_curves.model_name IS 'The registered model.';
COMMENT ON COLUMN monitoring.probability_curves.channel IS 'batch or stream.';
COMMENT ON COLUMN monitoring.probability_curves.scores IS 'Of the bands, ascending.';
COMMENT ON COLUMN monitoring.probability_curves.log_odds IS 'Of the bands'' probabilities.';

COMMENT ON COLUMN feedback.superseded_labels.ingested_at IS 'When it was taken in, UTC.';
COMMENT ON COLUMN feedback.superseded_labels.reviewer IS 'Who gave it, where a person did.';
COMMENT ON COLUMN feedback.superseded_labels.reviewer_named_by IS 'login: the proxy before the page told the name; typed: the reviewer wrote it; null where neither is known.';
COMMENT ON COLUMN feedback.superseded_labels.comment IS 'What the reviewer noted, or the reason code of a chargeback.';
COMMENT ON COLUMN feedback.superseded_labels.scenario IS 'The kind of fraud, where a reviewer or bank named it.';
COMMENT ON COLUMN feedback.rejected_labels.source IS 'The file it came with.';
COMMENT ON COLUMN feedback.rejected_labels.row_number IS 'Which row of the file, from 1.';
COMMENT ON COLUMN feedback.rejected_labels.reason IS 'Why it was rejected.';
COMMENT ON COLUMN feedback.rejected_labels.payload IS 'The row as it came, as JSON.';
COMMENT ON COLUMN feedback.rejected_labels.rejected_at IS 'When it was rejected, UTC.';
COMMENT ON COLUMN feedback.label_history.transaction_id IS 'The transaction.';
COMMENT ON COLUMN feedback.label_history.source IS 'review or chargeback.';
COMMENT ON COLUMN feedback.label_history.actual_fraud IS 'The verdict.';
COMMENT ON COLUMN feedback.label_history.known_at IS 'When it became known, UTC.';
COMMENT ON COLUMN feedback.label_history.ingested_at IS 'When it was taken in, UTC.';
COMMENT ON COLUMN feedback.label_history.reviewer IS 'Who gave it, where a person did.';
COMMENT ON COLUMN feedback.label_history.reviewer_named_by IS 'login: the proxy before the page told the name; typed: the reviewer wrote it; null where neither is known.';
COMMENT ON COLUMN feedback.label_history.comment IS 'What the reviewer noted, or the reason code of a chargeback.';
COMMENT ON COLUMN feedback.label_history.scenario IS 'The kind of fraud, where a reviewer or bank names it.';
COMMENT ON COLUMN feedback.decision_log.transaction_id IS 'The transaction.';
COMMENT ON COLUMN feedback.decision_log.channel IS 'batch: decided at the end of the day; stream: as it came.';
COMMENT ON COLUMN feedback.decision_log.event_date IS 'The UTC day of the transaction.';
COMMENT ON COLUMN feedback.decision_log.decision IS 'approve, review or block.';
COMMENT ON COLUMN feedback.decision_log.score IS 'Of the model that decided.';
COMMENT ON COLUMN feedback.decision_log.decided_at IS 'When it was decided, UTC.';
COMMENT ON COLUMN feedback.decision_log.actual_fraud IS 'The verdict known now; null while there is none.';
COMMENT ON COLUMN feedback.decision_log.correct IS 'A block or review of fraud, or an approval of a legitimate payment.';
COMMENT ON COLUMN feedback.decision_outcomes.transaction_id IS 'The transaction.';
COMMENT ON COLUMN feedback.decision_outcomes.channel IS 'batch: decided at the end of the day; stream: as it came.';
COMMENT ON COLUMN feedback.decision_outcomes.decision IS 'approve, review or block.';
COMMENT ON COLUMN feedback.decision_outcomes.score IS 'Of the model that decided.';
COMMENT ON COLUMN feedback.decision_outcomes.source IS 'Where the label came from: review or chargeback.';
COMMENT ON COLUMN feedback.decision_outcomes.actual_fraud IS 'The verdict.';
COMMENT ON COLUMN feedback.decision_outcomes.known_at IS 'When the label became known, UTC.';

COMMENT ON COLUMN monitoring.model_performance.channel IS 'batch: at the end of the day; stream: as payments came.';
COMMENT ON COLUMN monitoring.model_performance.transactions IS 'Transactions of the window that were scored or decided.';
COMMENT ON COLUMN monitoring.model_performance.frauds IS 'Known frauds among them.';
COMMENT ON COLUMN monitoring.model_performance.alerts IS 'Transactions that were reviewed or blocked, or that a model called unusual.';
COMMENT ON COLUMN monitoring.model_performance."precision" IS 'Share of the alerts that were fraud.';
COMMENT ON COLUMN monitoring.model_performance.precision_low IS '95 % interval, together with precision_high.';
COMMENT ON COLUMN monitoring.model_performance.precision_high IS '95 % interval, together with precision_low.';
COMMENT ON COLUMN monitoring.model_performance.recall IS 'Estimate for the frauds that are ever reported; null until half of the window''s chargebacks are expected to be in, as are f1, average_precision, roc_auc, card_precision_at_k, value_detection_rate and cost.';
COMMENT ON COLUMN monitoring.model_performance.recall_low IS '95 % interval, together with recall_high: chance, and how long chargebacks take.';
COMMENT ON COLUMN monitoring.model_performance.recall_high IS '95 % interval, together with recall_low.';
COMMENT ON COLUMN monitoring.model_performance.f1 IS 'Harmonic mean of precision and recall.';
COMMENT ON COLUMN monitoring.model_performance.f1_low IS '95 % interval, together with f1_high.';
COMMENT ON COLUMN monitoring.model_performance.f1_high IS '95 % interval, together with f1_low.';
COMMENT ON COLUMN monitoring.model_performance.average_precision IS 'Area under the curve of precision and recall, over all thresholds.';
COMMENT ON COLUMN monitoring.model_performance.average_precision_low IS '95 % interval, together with average_precision_high.';
COMMENT ON COLUMN monitoring.model_performance.average_precision_high IS '95 % interval, together with average_precision_low.';
COMMENT ON COLUMN monitoring.model_performance.roc_auc IS 'Chance that a fraud scores above a legitimate payment.';
COMMENT ON COLUMN monitoring.model_performance.value_detection_rate_low IS '95 % interval, together with value_detection_rate_high.';
COMMENT ON COLUMN monitoring.model_performance.value_detection_rate_high IS '95 % interval, together with value_detection_rate_low.';
COMMENT ON COLUMN monitoring.model_performance.cost_low IS '95 % interval, together with cost_high.';
COMMENT ON COLUMN monitoring.model_performance.cost_high IS '95 % interval, together with cost_low.';

COMMENT ON COLUMN monitoring.early_performance.channel IS 'batch: at the end of the day; stream: as payments came.';
COMMENT ON COLUMN monitoring.early_performance.transactions IS 'Transactions of the window that were scored or decided.';
COMMENT ON COLUMN monitoring.early_performance.labelled IS 'Transactions with a label so far.';
COMMENT ON COLUMN monitoring.early_performance.label_coverage IS 'Share of the transactions that has a label so far.';
COMMENT ON COLUMN monitoring.early_performance.alerts IS 'Transactions that were reviewed or blocked, or that a model called unusual.';
COMMENT ON COLUMN monitoring.early_performance.alerts_per_day IS 'Mean over the days of the window.';
COMMENT ON COLUMN monitoring.early_performance.alerts_labelled IS 'Alerts with a label so far.';
COMMENT ON COLUMN monitoring.early_performance.precision_high IS '95 % interval, together with precision_low.';

COMMENT ON COLUMN monitoring.model_performance.audited IS 'Payments that the audit sample drew and a review has judged; null where none was drawn, as are all that follow.';
COMMENT ON COLUMN monitoring.model_performance.audited_frauds IS 'Frauds among them.';
COMMENT ON COLUMN monitoring.model_performance.frauds_let_through IS 'Estimate of all frauds that were approved, those that nobody ever reports included, by the audit sample.';
COMMENT ON COLUMN monitoring.model_performance.frauds_let_through_low IS '95 % interval, together with frauds_let_through_high.';
COMMENT ON COLUMN monitoring.model_performance.frauds_let_through_high IS '95 % interval, together with frauds_let_through_low.';
COMMENT ON COLUMN monitoring.model_performance.recall_audited IS 'Share of all frauds, those that nobody ever reports included, that was alerted; by the audit sample.';
COMMENT ON COLUMN monitoring.model_performance.recall_audited_low IS '95 % interval, together with recall_audited_high.';
COMMENT ON COLUMN monitoring.model_performance.recall_audited_high IS '95 % interval, together with recall_audited_low.';
COMMENT ON COLUMN monitoring.model_performance.value_lost_audited IS 'What the frauds that were approved cost, in currency units over the window; by the audit sample.';
COMMENT ON COLUMN monitoring.model_performance.value_lost_audited_low IS '95 % interval, together with value_lost_audited_high.';
COMMENT ON COLUMN monitoring.model_performance.value_lost_audited_high IS '95 % interval, together with value_lost_audited_low.';
COMMENT ON COLUMN monitoring.early_performance.audited IS 'Payments that the audit sample drew and a review has judged; null where none was drawn, as are all that follow.';
COMMENT ON COLUMN monitoring.early_performance.audited_frauds IS 'Frauds among them.';
COMMENT ON COLUMN monitoring.early_performance.frauds_let_through IS 'Estimate of all frauds that were approved, those that nobody ever reports included, by the audit sample.';
COMMENT ON COLUMN monitoring.early_performance.frauds_let_through_low IS '95 % interval, together with frauds_let_through_high.';
COMMENT ON COLUMN monitoring.early_performance.frauds_let_through_high IS '95 % interval, together with frauds_let_through_low.';
COMMENT ON COLUMN monitoring.early_performance.recall_audited IS 'Share of all frauds, those that nobody ever reports included, that was alerted; by the audit sample.';
COMMENT ON COLUMN monitoring.early_performance.recall_audited_low IS '95 % interval, together with recall_audited_high.';
COMMENT ON COLUMN monitoring.early_performance.recall_audited_high IS '95 % interval, together with recall_audited_low.';
COMMENT ON COLUMN monitoring.early_performance.value_lost_audited IS 'What the frauds that were approved cost, in currency units over the window; by the audit sample.';
COMMENT ON COLUMN monitoring.early_performance.value_lost_audited_low IS '95 % interval, together with value_lost_audited_high.';
COMMENT ON COLUMN monitoring.early_performance.value_lost_audited_high IS '95 % interval, together with value_lost_audited_low.';

COMMENT ON COLUMN monitoring.scenario_performance.channel IS 'batch: at the end of the day; stream: as payments came.';
COMMENT ON COLUMN monitoring.scenario_performance.window_start IS 'First event day judged.';
COMMENT ON COLUMN monitoring.scenario_performance.window_end IS 'Last event day judged.';
COMMENT ON COLUMN monitoring.scenario_performance.recall IS 'Estimate for the frauds that are ever reported; null until half of the window''s chargebacks are expected to be in.';

COMMENT ON COLUMN monitoring.decision_thresholds.policy IS 'The policy it belongs to.';
COMMENT ON COLUMN monitoring.decision_thresholds.review_threshold IS 'Above it a transaction is reviewed.';
COMMENT ON COLUMN monitoring.decision_thresholds.block_threshold IS 'Above it a transaction is blocked. It was tuned where the evidence tells of blocks.';
COMMENT ON COLUMN monitoring.decision_thresholds.contamination IS 'Share of the traffic that scores above 0.5.';
COMMENT ON COLUMN monitoring.threshold_proposals.policy IS 'The policy it belongs to.';
COMMENT ON COLUMN monitoring.threshold_proposals.block_threshold IS 'Above it a transaction is blocked. It was tuned where the evidence tells of blocks.';
COMMENT ON COLUMN monitoring.threshold_proposals.contamination IS 'Share of the traffic that scores above 0.5.';
COMMENT ON COLUMN monitoring.threshold_proposals.objective IS 'What it was tuned for.';
COMMENT ON COLUMN monitoring.threshold_proposals.accepted_by IS 'Who accepted it.';
COMMENT ON COLUMN monitoring.threshold_proposals.accepted_at IS 'When it was accepted, UTC.';

COMMENT ON COLUMN monitoring.feature_drift.event_date IS 'The UTC day compared.';
COMMENT ON COLUMN monitoring.feature_drift.feature IS 'A column of features.transaction_features, or one of raw.transactions that the daily models use.';

COMMENT ON COLUMN monitoring.alerts.message IS 'What people are told.';
COMMENT ON COLUMN monitoring.alerts.created_at IS 'When it was raised, UTC.';

COMMENT ON COLUMN monitoring.model_comparison.window_start IS 'First event day judged.';
COMMENT ON COLUMN monitoring.model_comparison.window_end IS 'Last event day judged: the labels of later ones are still to come.';
COMMENT ON COLUMN monitoring.model_comparison.transactions IS 'Transactions of the window that the model scored.';
COMMENT ON COLUMN monitoring.model_comparison.frauds IS 'Known frauds among them.';
COMMENT ON COLUMN monitoring.model_comparison.alerts IS 'Transactions that the model called unusual; of the amount, the largest of each day.';
COMMENT ON COLUMN monitoring.model_comparison."precision" IS 'Share of the alerts that were fraud.';
COMMENT ON COLUMN monitoring.model_comparison.recall IS 'Estimate for the frauds that are ever reported; null until half of the window''s chargebacks are expected to be in, as are average_precision and all that follows.';
COMMENT ON COLUMN monitoring.model_comparison.recall_low IS '95 % interval, together with recall_high: chance, and how long chargebacks take.';
COMMENT ON COLUMN monitoring.model_comparison.recall_high IS '95 % interval, together with recall_low.';
COMMENT ON COLUMN monitoring.model_comparison.recall_lower_bound IS 'The recall, if as many missed frauds are never reported as FRAUD_UNREPORTED_SHARE says.';
COMMENT ON COLUMN monitoring.model_comparison.average_precision IS 'Area under the curve of precision and recall, over all thresholds.';
COMMENT ON COLUMN monitoring.model_comparison.average_precision_low IS '95 % interval, together with average_precision_high.';
COMMENT ON COLUMN monitoring.model_comparison.average_precision_high IS '95 % interval, together with average_precision_low.';
COMMENT ON COLUMN monitoring.model_comparison.gain_over_amount_low IS '95 % interval, together with gain_over_amount_high.';
COMMENT ON COLUMN monitoring.model_comparison.gain_over_amount_high IS '95 % interval, together with gain_over_amount_low.';
COMMENT ON COLUMN monitoring.model_comparison.roc_auc IS 'Chance that a fraud scores above a legitimate payment.';
COMMENT ON COLUMN monitoring.model_comparison.value_detection_rate IS 'Share of the amount of all frauds that was alerted.';

COMMENT ON COLUMN streaming.history_base.event_date IS 'The day whose histories the stream goes on from.';
COMMENT ON COLUMN streaming.kafka_offsets.topic IS 'The topic.';
COMMENT ON COLUMN streaming.kafka_offsets.partition IS 'The partition of the topic.';
COMMENT ON COLUMN streaming.kafka_offsets.next_offset IS 'The offset to read next.';
