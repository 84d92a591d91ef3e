//! Window functions run through DataFusion.
