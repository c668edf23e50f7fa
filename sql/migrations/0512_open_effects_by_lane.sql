-- The effects of a lane that are still to do, and those being done.
CREATE INDEX effects_open_by_lane ON effects (lane) WHERE state IN ('ready', 'leased');
DROP INDEX effects_by_lane;
