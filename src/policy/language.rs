//! The filter language: own name resolution, fixed functions, masks.
