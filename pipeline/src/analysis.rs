//! What the rules of a profile need to know of a document, computed once.
