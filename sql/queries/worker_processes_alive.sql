-- What each process finds down that works now: that was seen within so many seconds.
SELECT down FROM worker_processes
WHERE seen_at > clock_timestamp() - %(within_s)s * interval '1 second'
ORDER BY owner
LIMIT 1000
