-- One row. A writer that bypasses the running service raises the epoch; caches filled under an
-- earlier one are then ignored.
--
-- It begins at random, so that a cache folder or a Redis that has served another database holds
-- nothing that this one believes: beginning at 1, both would count through the same epochs.
CREATE TABLE cache_epoch (
    id    SMALLINT PRIMARY KEY CHECK (id = 1),
    epoch BIGINT   NOT NULL CHECK (epoch > 0)
);

INSERT INTO cache_epoch (id, epoch)
VALUES (
    1,
    -- The last 15 hexadecimal digits of a random UUID are 60 random bits; the 1 keeps it above 0.
    1 + ('x' || right(replace(gen_random_uuid()::text, '-', ''), 15))::bit(60)::bigint
);
