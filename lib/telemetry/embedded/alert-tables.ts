/**
 * The tables of alerts. The state of a rule at a device changes by an upsert of `alert_states`; triggers open and clear the
 * alerts, so that they belong to the transaction that stores the readings, whoever writes it.
 *
 * All times are ns since the epoch, except those that end in `_ms`.
 */
import { alertStates } from './alert-state.ts'

const { ok, pending, open, clearing } = alertStates

/**
 * A change of what is judged raises `revision`; a row of `alert_states` of another revision counts for nothing. Every change of
 * rules has a `version`: who knows the rules up to one reads those of later ones, and the ids in `alert_rules_gone`.
 */
const tables = `
  CREATE TABLE IF NOT EXISTS alert_rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    revision INTEGER NOT NULL,
    version INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    hold INTEGER NOT NULL,
    clear_hold INTEGER NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    name TEXT NOT NULL,
    target TEXT NOT NULL,
    condition TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
  );
  CREATE INDEX IF NOT EXISTS alert_rules_changed ON alert_rules (version);
  CREATE TABLE IF NOT EXISTS alert_rules_gone (version INTEGER PRIMARY KEY, id INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS alert_rules_version (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
  );
  INSERT OR IGNORE INTO alert_rules_version VALUES (1, 0);
  CREATE TABLE IF NOT EXISTS alert_states (
    device_id INTEGER NOT NULL,
    rule_id INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    state INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    since INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    hold INTEGER NOT NULL,
    clear_hold INTEGER NOT NULL,
    since_value TEXT,
    value TEXT,
    PRIMARY KEY (device_id, rule_id)
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS alert_states_timed ON alert_states (state) WHERE state IN (${pending}, ${clearing});
  CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rule_id INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    device_id INTEGER NOT NULL,
    rule_name TEXT NOT NULL,
    severity TEXT NOT NULL,
    kind TEXT NOT NULL,
    condition TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    opened_value TEXT,
    last_at INTEGER,
    last_value TEXT,
    cleared_at INTEGER,
    clear_reason TEXT,
    acknowledged_at_ms INTEGER,
    acknowledged_note TEXT
  );
  CREATE UNIQUE INDEX IF NOT EXISTS alerts_open ON alerts (device_id, rule_id) WHERE cleared_at IS NULL;
  CREATE INDEX IF NOT EXISTS alerts_open_newest ON alerts (id) WHERE cleared_at IS NULL;
  CREATE INDEX IF NOT EXISTS alerts_open_of_rule ON alerts (rule_id) WHERE cleared_at IS NULL;
  CREATE INDEX IF NOT EXISTS alerts_device ON alerts (device_id, id);
  CREATE INDEX IF NOT EXISTS alerts_rule ON alerts (rule_id, id);
  CREATE TABLE IF NOT EXISTS alert_notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    alert_id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    text TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS alert_notes_alert ON alert_notes (alert_id, id);
  CREATE TABLE IF NOT EXISTS alert_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    alert_id INTEGER NOT NULL,
    transition TEXT NOT NULL
  );`

const eventTriggers = `
  CREATE TRIGGER IF NOT EXISTS alert_opened AFTER INSERT ON alerts BEGIN
    INSERT INTO alert_events (alert_id, transition) VALUES (new.id, 'opened');
  END;
  CREATE TRIGGER IF NOT EXISTS alert_acknowledged AFTER UPDATE OF acknowledged_at_ms ON alerts
    WHEN old.acknowledged_at_ms IS NULL AND new.acknowledged_at_ms IS NOT NULL BEGIN
    INSERT INTO alert_events (alert_id, transition) VALUES (new.id, 'acknowledged');
  END;
  CREATE TRIGGER IF NOT EXISTS alert_cleared AFTER UPDATE OF cleared_at ON alerts
    WHEN old.cleared_at IS NULL AND new.cleared_at IS NOT NULL BEGIN
    INSERT INTO alert_events (alert_id, transition) VALUES (new.id, 'cleared');
  END;`

const openAlert = (at: string, value: string, condition: string) => `
    INSERT INTO alerts (rule_id, revision, device_id, rule_name, severity, kind, condition, opened_at, opened_value)
      SELECT id, new.revision, new.device_id, name, severity, kind, condition, ${at}, ${value}
      FROM alert_rules WHERE id = new.rule_id AND ${condition};`

const clearAlert = (at: string, sampleAt: string, value: string, condition: string) => `
    UPDATE alerts SET cleared_at = max(opened_at, ${at}), clear_reason = 'condition', last_at = ${sampleAt}, last_value = ${value}
      WHERE device_id = new.device_id AND rule_id = new.rule_id AND cleared_at IS NULL AND ${condition};`

/** What a trigger looks at: an update that sets none of it costs nothing more. */
const judgedColumns = 'state, revision'

/**
 * One sample may change a state twice: the time that has passed until then first, its verdict after that. So a breach that was
 * over before the sample came is opened and cleared, and an alert whose end has lasted long enough is cleared before the next.
 */
const stateTriggers = `
  CREATE TRIGGER IF NOT EXISTS alert_state_first AFTER INSERT ON alert_states WHEN new.state = ${open} BEGIN
    ${openAlert('new.ts', 'new.value', 'true')}
  END;
  CREATE TRIGGER IF NOT EXISTS alert_state_anew AFTER UPDATE OF ${judgedColumns} ON alert_states
    WHEN new.revision <> old.revision AND new.state = ${open} BEGIN
    ${openAlert('new.ts', 'new.value', 'true')}
  END;
  CREATE TRIGGER IF NOT EXISTS alert_state_changed AFTER UPDATE OF ${judgedColumns} ON alert_states
    WHEN new.state <> old.state AND new.revision = old.revision BEGIN
    ${clearAlert('old.since + old.clear_hold', 'old.since', 'old.since_value', `old.state = ${clearing} AND (new.state <> ${open} OR new.ts - old.since >= old.clear_hold)`)}
    ${clearAlert('new.ts', 'new.ts', 'new.value', `old.state = ${open} AND new.state = ${ok}`)}
    ${openAlert('old.since + old.hold', 'old.since_value', `old.state = ${pending} AND (new.state <> ${ok} OR new.ts - old.since >= old.hold)`)}
    ${openAlert('new.ts', 'new.value', `new.state = ${open} AND (old.state = ${ok} OR (old.state = ${clearing} AND new.ts - old.since >= old.clear_hold))`)}
    ${clearAlert('new.ts', 'new.ts', 'new.value', `old.state = ${pending} AND new.state = ${ok}`)}
  END;`

export const alertTables = tables + eventTriggers + stateTriggers

/** Finds triggers of an earlier version, which run for every update of a state. */
export const selectSlowTriggers = `SELECT 1 FROM sqlite_master WHERE type = 'trigger'
  AND name IN ('alert_state_anew', 'alert_state_changed') AND sql NOT LIKE '%UPDATE OF ${judgedColumns} ON%'`

export const renewTriggers = `BEGIN IMMEDIATE; DROP TRIGGER IF EXISTS alert_state_anew; DROP TRIGGER IF EXISTS alert_state_changed;
  ${stateTriggers} COMMIT;`
