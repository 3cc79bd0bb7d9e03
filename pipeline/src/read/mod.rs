//! Files become rows: blocks cut at row boundaries, decoded in bounded memory.
