//! What a model can do: tasks with known answers, and the metrics they are reported in.

pub mod metrics;
