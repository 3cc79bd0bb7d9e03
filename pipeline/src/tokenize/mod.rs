//! Documents become token ids.
