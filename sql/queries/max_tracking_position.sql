-- How far a process has got with an application's events; no row when it has not begun.
SELECT position FROM process_tracking WHERE tenant = %(tenant)s AND application_name = %(application_name)s
