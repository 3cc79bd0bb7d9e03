//! The shard format and build manifest of Andromeda.
