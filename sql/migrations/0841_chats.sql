-- Chats: one row per session, in the order in which something was last said in them.
CREATE TABLE read_models.chats (
    version         integer NOT NULL,
    tenant          text    COLLATE "C" NOT NULL,
    key             text    COLLATE "C" NOT NULL,
    body            json    NOT NULL,
    position        bigint  NOT NULL,
    project_name    text    COLLATE "C" NOT NULL,
    user_login_name text    COLLATE "C" NOT NULL,
    PRIMARY KEY (version, tenant, key)
) WITH (fillfactor = 70);

CREATE INDEX chats_latest ON read_models.chats (version, tenant, position);
CREATE INDEX chats_of_user ON read_models.chats (version, tenant, user_login_name, position);

CREATE UNLOGGED TABLE past.chats (LIKE read_models.chats INCLUDING ALL);
