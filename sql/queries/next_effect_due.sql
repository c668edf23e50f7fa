-- Seconds until the next effect becomes due; NULL when none waits.
SELECT greatest(0, extract(epoch FROM min(CASE state WHEN 'ready' THEN available_at ELSE lease_expires_at END)
       - clock_timestamp()))::float8
FROM effects WHERE state IN ('ready', 'leased')
