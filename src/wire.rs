//! Accept loop, connection limit, drain: shared by all doors.
