-- The position of an application's consumer; no row if it has not begun.
SELECT position FROM process_tracking WHERE tenant = %(tenant)s AND application_name = %(application_name)s
