-- Who this installation is to what lives outside and outlasts its processes: the label of its containers. Made once, for
-- all processes that share this database; the embedded one is in the home. Whoever copies a database to run a second
-- installation from it on the same Docker daemon must give it an id of its own first.
CREATE TABLE installation (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    id       text    NOT NULL CHECK (id ~ '^[a-z0-9]{6,32}$')
);
INSERT INTO installation (id) VALUES (left(replace(gen_random_uuid()::text, '-', ''), 12));
