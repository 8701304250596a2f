-- Times are microseconds since 1970 in UTC, identifiers the 16 bytes of a UUID.
-- `seq` is named so that VACUUM keeps the row numbers.
CREATE TABLE tasks (
    seq               INTEGER PRIMARY KEY,
    id                BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    title             TEXT    NOT NULL,
    description       TEXT,
    assigned_agent_id TEXT,
    priority          INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    status            TEXT    NOT NULL
        CHECK (status IN ('pending', 'running', 'done', 'failed', 'cancelled')),
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    completed_at      INTEGER,
    version           INTEGER NOT NULL
) STRICT;

CREATE INDEX tasks_by_agent ON tasks (assigned_agent_id);
CREATE INDEX tasks_by_priority ON tasks (priority DESC, created_at);
CREATE INDEX tasks_by_agent_completion ON tasks (assigned_agent_id, completed_at);
CREATE INDEX tasks_by_status ON tasks (status, priority DESC, created_at);
