-- `tags` is a JSON array. The tag table and the word index are derived from this table by the
-- triggers below, so that no writer, not even one with a SQL shell, can let them drift apart.
CREATE TABLE records (
    seq        INTEGER PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    title      TEXT    NOT NULL,
    text       TEXT    NOT NULL,
    tags       TEXT    NOT NULL CHECK (json_valid(tags)),
    importance INTEGER NOT NULL CHECK (importance BETWEEN 1 AND 5),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT;

CREATE TABLE record_tags (
    tag       TEXT NOT NULL,
    record_id BLOB NOT NULL,
    PRIMARY KEY (tag, record_id)
) STRICT, WITHOUT ROWID;

-- The index keeps no second copy of the text. Accents count, as they do on PostgreSQL.
CREATE VIRTUAL TABLE records_words USING fts5 (
    title, text,
    content = 'records', content_rowid = 'seq',
    tokenize = 'unicode61 remove_diacritics 0'
);

CREATE TRIGGER records_insert AFTER INSERT ON records BEGIN
    INSERT INTO records_words (rowid, title, text) VALUES (NEW.seq, NEW.title, NEW.text);
    INSERT OR IGNORE INTO record_tags (tag, record_id) SELECT value, NEW.id FROM json_each(NEW.tags);
END;

CREATE TRIGGER records_delete AFTER DELETE ON records BEGIN
    INSERT INTO records_words (records_words, rowid, title, text)
        VALUES ('delete', OLD.seq, OLD.title, OLD.text);
    DELETE FROM record_tags
        WHERE record_id = OLD.id AND tag IN (SELECT value FROM json_each(OLD.tags));
END;

CREATE TRIGGER records_update_words AFTER UPDATE ON records
WHEN OLD.seq <> NEW.seq OR OLD.title <> NEW.title OR OLD.text <> NEW.text BEGIN
    INSERT INTO records_words (records_words, rowid, title, text)
        VALUES ('delete', OLD.seq, OLD.title, OLD.text);
    INSERT INTO records_words (rowid, title, text) VALUES (NEW.seq, NEW.title, NEW.text);
END;

CREATE TRIGGER records_update_tags AFTER UPDATE ON records
WHEN OLD.id <> NEW.id OR OLD.tags <> NEW.tags BEGIN
    DELETE FROM record_tags
        WHERE record_id = OLD.id AND tag IN (SELECT value FROM json_each(OLD.tags));
    INSERT OR IGNORE INTO record_tags (tag, record_id) SELECT value, NEW.id FROM json_each(NEW.tags);
END;
