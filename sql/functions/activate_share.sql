-- A share of the queue has a run in the line: it takes turns from now on, beginning with the present round.
CREATE OR REPLACE FUNCTION activate_share(of_share text, of_priority smallint, app text, who text, at_position bigint)
RETURNS void LANGUAGE plpgsql
SET jit = off
SET enable_seqscan = off
AS $$
BEGIN
    INSERT INTO run_queue_shares AS shares (share, priority, app_id, user_login_name, next_turn, since)
    SELECT of_share, of_priority, app, who, turn, at_position FROM run_queue_rounds WHERE priority = of_priority
    ON CONFLICT (share) DO UPDATE
    SET active = true, next_turn = greatest(shares.next_turn, excluded.next_turn), since = excluded.since
    WHERE NOT shares.active;
END
$$;
