//! Tracing set-up; every metric name is a constant here and described once. It records nothing itself.
