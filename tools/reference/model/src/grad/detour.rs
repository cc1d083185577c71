//! Values with gradients that are not those of the operations which made them.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage,
    Tensor, backend::BackendStorage, bail,
};

/// A value, and how the gradient with respect to it goes back to its arguments.
pub(super) struct Detour<B> {
    pub(super) value: Tensor,
    pub(super) back: B,
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

impl<B> CustomOp1 for Detour<B>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
{
    fn name(&self) -> &'static str {
        "detour"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        on_cpu(&self.value)
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        on_cuda(&self.value)
    }

    fn bwd(&self, x: &Tensor, value: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (self.back)(&x.detach(), value, &gradient.contiguous()?).map(Some)
    }
}

impl<B> CustomOp2 for Detour<B>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<(Tensor, Tensor)>,
{
    fn name(&self) -> &'static str {
        "detour"
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
        let (a, b) = (self.back)(&a.detach(), &b.detach(), &gradient.contiguous()?)?;
        Ok((Some(a), Some(b)))
    }
}

impl<B> CustomOp3 for Detour<B>
where
    B: Fn([&Tensor; 3], &Tensor) -> Result<[Tensor; 3]>,
{
    fn name(&self) -> &'static str {
        "detour"
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
        let [a, b, c] = (self.back)(plain.each_ref(), &gradient.contiguous()?)?;
        Ok((Some(a), Some(b), Some(c)))
    }
}

/// `value` of `x`, whose gradient is `back(x, value, gradient)`.
pub(super) fn detour1<B>(
    x: &Tensor,
    value: impl FnOnce(&Tensor) -> Result<Tensor>,
    back: B,
) -> Result<Tensor>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
{
    let of = value(&x.detach())?;
    if x.track_op() {
        x.apply_op1(Detour { value: of, back })
    } else {
        Ok(of)
    }
}

/// `value` of `a` and `b`, whose gradients are `back(a, b, gradient)`.
pub(super) fn detour2<B>(
    a: &Tensor,
    b: &Tensor,
    value: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
    back: B,
) -> Result<Tensor>
where
    B: Fn(&Tensor, &Tensor, &Tensor) -> Result<(Tensor, Tensor)> + Send + Sync + 'static,
{
    let of = value(&a.detach(), &b.detach())?;
    if a.track_op() || b.track_op() {
        a.apply_op2(b, Detour { value: of, back })
    } else {
        Ok(of)
    }
}
