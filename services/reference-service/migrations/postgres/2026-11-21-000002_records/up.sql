-- What is searched and what is searched for pass through this function: lower case, and everything
-- but letters and digits is a blank. Otherwise the parser would keep host names, paths and hyphenated
-- words together, and a search for one of their parts would find nothing.
-- The ICU collation makes it independent of the database's locale; "C", for one, knows no letter
-- beyond ASCII. Where it is missing, only ASCII punctuation separates words, and the case of other
-- letters is folded as far as the locale knows it.
DO $do$
DECLARE
    body TEXT := $body$
        SELECT lower(regexp_replace($1 COLLATE "und-x-icu", '[^[:alnum:]]+', ' ', 'g'))
    $body$;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') THEN
        body := $body$
            SELECT lower(translate($1, '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', repeat(' ', 32)))
        $body$;
    END IF;
    EXECUTE 'CREATE FUNCTION searchable(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS '
        || quote_literal(body);
END
$do$;

-- `tags` is a JSON array. The word column and the tag table are derived by the database, so that no
-- writer, not even one with a SQL shell, can let them drift apart.
CREATE TABLE records (
    id         UUID        PRIMARY KEY,
    title      TEXT        NOT NULL,
    text       TEXT        NOT NULL,
    tags       TEXT        NOT NULL CHECK (jsonb_typeof(tags::jsonb) = 'array'),
    importance SMALLINT    NOT NULL CHECK (importance BETWEEN 1 AND 5),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    version    BIGINT      NOT NULL,
    words      TSVECTOR    NOT NULL
        GENERATED ALWAYS AS (to_tsvector('simple', searchable(title || ' ' || text))) STORED
);

CREATE INDEX records_by_words ON records USING GIN (words);

CREATE TABLE record_tags (
    tag       TEXT NOT NULL,
    record_id UUID NOT NULL,
    PRIMARY KEY (tag, record_id)
);

-- Once per statement, not per row: an import inserts hundreds of records with one statement.
CREATE FUNCTION records_derive_tags() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NOT EXISTS (SELECT id, tags FROM new_records EXCEPT SELECT id, tags FROM old_records) THEN
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM record_tags
            USING old_records, jsonb_array_elements_text(old_records.tags::jsonb) AS old_tag
            WHERE record_tags.tag = old_tag AND record_tags.record_id = old_records.id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO record_tags (tag, record_id)
            SELECT new_tag, new_records.id
            FROM new_records, jsonb_array_elements_text(new_records.tags::jsonb) AS new_tag
            ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END;
$$;

CREATE TRIGGER records_insert AFTER INSERT ON records
    REFERENCING NEW TABLE AS new_records
    FOR EACH STATEMENT EXECUTE FUNCTION records_derive_tags();
CREATE TRIGGER records_update AFTER UPDATE ON records
    REFERENCING OLD TABLE AS old_records NEW TABLE AS new_records
    FOR EACH STATEMENT EXECUTE FUNCTION records_derive_tags();
CREATE TRIGGER records_delete AFTER DELETE ON records
    REFERENCING OLD TABLE AS old_records
    FOR EACH STATEMENT EXECUTE FUNCTION records_derive_tags();
