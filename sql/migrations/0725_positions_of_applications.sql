-- The positions of the `eventsourcing` library's applications, which have tenants of their own: without it a reader of one
-- of them would go through the product's events to find its next one. The product's own events, all of tenant `default`,
-- are not in it and cost nothing.
CREATE INDEX events_of_applications ON events (tenant, position) WHERE tenant <> 'default';
