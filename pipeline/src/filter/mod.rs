//! Rules that keep or drop one document.
