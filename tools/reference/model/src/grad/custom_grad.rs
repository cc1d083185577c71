//! Operations with a gradient of their own, in place of the gradients of the operations they are made of.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage,
    Tensor, backend::BackendStorage, bail,
};

/// A value that is computed already, and the function that turns its gradient into those of its arguments.
pub(super) struct CustomGrad<B> {
    pub(super) value: Tensor,
    pub(super) backward: B,
}

fn on_cpu(value: &Tensor) -> Result<(CpuStorage, Shape)> {
    let (storage, layout) = value.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok((storage.try_clone(layout)?, value.shape().clone())),
        _ => bail!("a value that was computed on another device than its argument"),
    }
}

fn on_cuda(value: &Tensor) -> Result<(CudaStorage, Shape)> {
    let (storage, layout) = value.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => Ok((storage.try_clone(layout)?, value.shape().clone())),
        _ => bail!("a value that was computed on another device than its argument"),
    }
}

impl<B> CustomOp1 for CustomGrad<B>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
{
    fn name(&self) -> &'static str {
        "custom-grad"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        on_cpu(&self.value)
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        on_cuda(&self.value)
    }

    fn bwd(&self, x: &Tensor, value: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (self.backward)(&x.detach(), value, &gradient.contiguous()?).map(Some)
    }
}

impl<B> CustomOp2 for CustomGrad<B>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<(Tensor, Tensor)>,
{
    fn name(&self) -> &'static str {
        "custom-grad"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        on_cpu(&self.value)
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        on_cuda(&self.value)
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (a, b) = (self.backward)(&a.detach(), &b.detach(), &gradient.contiguous()?)?;
        Ok((Some(a), Some(b)))
    }
}

impl<B> CustomOp3 for CustomGrad<B>
where
    B: Fn([&Tensor; 3], &Tensor) -> Result<[Tensor; 3]>,
{
    fn name(&self) -> &'static str {
        "custom-grad"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        on_cpu(&self.value)
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        on_cuda(&self.value)
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let plain = [a, b, c].map(Tensor::detach);
        let [a, b, c] = (self.backward)(plain.each_ref(), &gradient.contiguous()?)?;
        Ok((Some(a), Some(b), Some(c)))
    }
}

/// `forward(x)`, with the gradient `backward(x, value, gradient of the value)`.
pub(super) fn unary<B>(
    x: &Tensor,
    forward: impl FnOnce(&Tensor) -> Result<Tensor>,
    backward: B,
) -> Result<Tensor>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
{
    let value = forward(&x.detach())?;
    if x.track_op() {
        x.apply_op1(CustomGrad { value, backward })
    } else {
        Ok(value)
    }
}

/// `forward(a, b)`, with the gradients `backward(a, b, gradient of the value)`.
pub(super) fn binary<B>(
    a: &Tensor,
    b: &Tensor,
    forward: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
    backward: B,
) -> Result<Tensor>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<(Tensor, Tensor)> + Send + Sync + 'static,
{
    let value = forward(&a.detach(), &b.detach())?;
    if a.track_op() || b.track_op() {
        a.apply_op2(b, CustomGrad { value, backward })
    } else {
        Ok(value)
    }
}
