//! A matrix product with a weight stored as (outputs, inputs). candle's own `Linear` obtains the weight gradient transposed and
//! then adds it to a contiguous buffer, which is some sixteen times slower than an addition of like layouts; here the gradient
//! comes out in the weight's own layout.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::on_cpu;

/// `x` (rows, inputs) times the transpose of `weight` (outputs, inputs): (rows, outputs).
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if on_cpu(x) {
        x.apply_op2(weight, Linear)
    } else {
        composed(x, weight)
    }
}

fn composed(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)
}

struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        w: &CpuStorage,
        w_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, inputs), (outputs, width)) = (x_at.shape().dims2()?, w_at.shape().dims2()?);
        if width != inputs {
            candle_core::bail!("linear: {inputs} inputs meet a weight for {width}");
        }
        let product = x.matmul(w, (1, rows, outputs, inputs), x_at, &w_at.transpose(0, 1)?)?;
        Ok((product, Shape::from((rows, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (x, w) = (x.detach(), w.detach());
        Ok((Some(gradient.matmul(&w)?), Some(gradient.t()?.matmul(&x)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::oracle::{assert_same, variable};

    #[test]
    fn value_and_gradients_equal_the_composed_form() {
        let (x, w) = (variable("x", &[7, 5]), variable("w", &[3, 5]));
        assert_same(&[&x, &w], 1e-14, || linear(&x, &w), || composed(&x, &w));
    }

    #[test]
    fn weight_of_another_width_is_refused() {
        assert!(linear(&variable("x", &[7, 5]), &variable("w", &[3, 4])).is_err());
    }
}
