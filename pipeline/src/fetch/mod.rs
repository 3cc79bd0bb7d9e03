//! Remote files become verified local files.
