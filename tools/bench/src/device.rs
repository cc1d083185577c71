//! The device that is measured.

use anyhow::Result;
use engram_cuda::Device;

/// Which device, as arguments say.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct DeviceArgs {
    /// Number of the CUDA device
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    device: u32,
    /// Take the host for a device: shows that everything runs; its figures mean nothing
    #[arg(long, conflicts_with = "device")]
    stand_in: bool,
}

impl DeviceArgs {
    pub(crate) fn open(self) -> Result<Device> {
        if self.stand_in {
            return Ok(Device::host());
        }
        Ok(Device::cuda(self.device)?)
    }
}
