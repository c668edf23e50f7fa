-- The runs under way, without the rest of the queue.
CREATE INDEX run_queue_leased ON run_queue (lease_expires_at) WHERE state = 'leased';
