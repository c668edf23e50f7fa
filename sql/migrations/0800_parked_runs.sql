-- Runs that wait hold no lease. state: waiting (parked, until it is woken or available_at has come); a woken run is ready
-- again. waits_for (person, place, session): also kept while a woken run is not claimed yet, since it goes on with what it
-- had begun. waiting_since, look_at: since when it is parked, and when it is looked at next.
-- ends: it was woken to be ended.
ALTER TABLE run_queue
    ADD COLUMN waits_for     text CHECK (waits_for IN ('person', 'place', 'session')),
    ADD COLUMN waiting_since timestamptz,
    ADD COLUMN look_at       timestamptz,
    ADD COLUMN ends          boolean NOT NULL DEFAULT false;
ALTER TABLE run_queue DROP CONSTRAINT run_queue_state_check;
ALTER TABLE run_queue ADD CONSTRAINT run_queue_state_check CHECK (state IN ('ready', 'leased', 'waiting', 'done'));

-- The parked runs that a session wakes, and those to be looked at.
CREATE INDEX run_queue_waiting ON run_queue (session_id) WHERE state = 'waiting';
CREATE INDEX run_queue_to_look_at ON run_queue (look_at) WHERE state = 'waiting';
-- What has been claimed before and is to be claimed again, at once or later: parked runs, and those that are tried again.
CREATE INDEX run_queue_again ON run_queue (available_at) WHERE state IN ('ready', 'waiting') AND lease_generation > 0;
