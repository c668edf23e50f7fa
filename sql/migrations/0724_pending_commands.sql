-- Commands of process managers that their session had not answered when the checkpoint moved past their event: it is busy.
-- The leader of the process managers sends them again until they are answered, those to one session in order. What a command
-- is follows from its event. A process of the version before leaves them to the next one that knows of them.
CREATE TABLE pending_commands (
    command_id      text        PRIMARY KEY,
    process_manager text        NOT NULL,
    session_id      text        NOT NULL,
    position        bigint      NOT NULL,
    since           timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE pending_commands IS 'Commands to sessions that did not answer in time. Sent by the leader of the process managers.';
COMMENT ON COLUMN pending_commands.position IS 'Of the event that leads to the command.';
