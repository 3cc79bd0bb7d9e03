//! Support for the cross-crate tests: the loopback hub.
