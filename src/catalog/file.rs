//! catalog/* → Draft.
