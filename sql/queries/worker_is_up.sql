-- A worker has started, or failed to and is about to go: it doesn't count as starting any more.
UPDATE worker_places SET stage = 'up' WHERE lane = %(lane)s AND stage = 'starting'
