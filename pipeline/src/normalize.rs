//! Text repairs that every document gets before anything judges or hashes it.
