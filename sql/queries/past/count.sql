-- How many past versions of a projection there are.
SELECT count(*) FROM past.versions WHERE projection = %(projection)s
