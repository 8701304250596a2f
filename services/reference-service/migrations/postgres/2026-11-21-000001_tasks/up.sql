-- Any text that a client may send must be storable; other encodings would refuse some of it.
DO $$
BEGIN
    IF getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION 'the database has the encoding %, create one with UTF8', getdatabaseencoding();
    END IF;
END
$$;

CREATE TABLE tasks (
    id                UUID        PRIMARY KEY,
    title             TEXT        NOT NULL,
    description       TEXT,
    assigned_agent_id TEXT,
    priority          SMALLINT    NOT NULL CHECK (priority BETWEEN 0 AND 9),
    status            TEXT        NOT NULL
        CHECK (status IN ('pending', 'running', 'done', 'failed', 'cancelled')),
    created_at        TIMESTAMPTZ NOT NULL,
    updated_at        TIMESTAMPTZ NOT NULL,
    completed_at      TIMESTAMPTZ,
    version           BIGINT      NOT NULL
);

CREATE INDEX tasks_by_agent ON tasks (assigned_agent_id);
CREATE INDEX tasks_by_priority ON tasks (priority DESC, created_at);
CREATE INDEX tasks_by_agent_completion ON tasks (assigned_agent_id, completed_at);
CREATE INDEX tasks_by_status ON tasks (status, priority DESC, created_at);
