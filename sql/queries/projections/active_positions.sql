-- How far the read models that readers see have got.
SELECT projection, position FROM projection_versions WHERE state = 'active'
