-- External runs that have not ended: each minute looks for those that are silent for too long.
CREATE INDEX runs_external ON read_models.runs (version, tenant, created_position)
    WHERE provider = '' AND state IN ('running', 'waiting_human');
