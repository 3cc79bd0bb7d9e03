//! Rows become documents.
