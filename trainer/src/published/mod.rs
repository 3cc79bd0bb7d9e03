//! Models as other programs know them: which published architecture a model of ours is, and which of its tensors are which rows of
//! ours. `export` writes by it and `import` reads by it, so that a model goes there and back without a changed bit.

mod architecture;
mod tensors;

pub use architecture::Architecture;
pub use tensors::{Form, Piece, PublishedTensor, tensors};
