-- Deletes the row of one that is shown no more.
DELETE FROM user_projections WHERE tenant = %(tenant)s AND name = %(name)s
