//! Aggregates run through DataFusion.
