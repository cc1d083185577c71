//! Work that a stream does again and again.

use std::{fmt, sync::Arc};

use crate::{device::Device, driver::Handle, error::DeviceError, keep_alive::Used, stream::Stream};

/// Work that was captured, to be done again and again.
pub struct Graph {
    handle: Handle,
    device: Device,
    #[expect(dead_code, reason = "kept for the work")]
    used: Vec<Used>,
}

impl Stream {
    /// The work that `put` puts in this stream, which is not done now but each time the graph is launched.
    ///
    /// Of this library, an [`OutputSlot`](crate::OutputSlot) may be waited for, copied and released.
    ///
    /// # Errors
    /// Those of `put`, a stream that is being captured already, or a driver that refuses.
    pub fn capture(
        &self,
        put: impl FnOnce(&Self) -> Result<(), DeviceError>,
    ) -> Result<Graph, DeviceError> {
        self.begin_capture()?;
        let capture = Capture(self);
        put(self)?;
        capture.end()
    }

    /// Puts the work of `graph` in this stream.
    ///
    /// # Errors
    /// A graph of another device, a stream that is being captured, or a driver that refuses.
    pub fn launch_graph(&self, graph: &Arc<Graph>) -> Result<(), DeviceError> {
        self.check(&graph.device)?;
        self.check_not_captured()?;
        // SAFETY: what the graph uses lives as long as it, and this stream keeps it.
        self.put([graph.clone() as Used], || unsafe {
            let driver = self.device().driver();
            driver.launch_graph(graph.handle, self.handle())
        })
    }
}

/// A stream that is being captured until this is dropped.
struct Capture<'a>(&'a Stream);

impl Capture<'_> {
    fn end(self) -> Result<Graph, DeviceError> {
        let stream = self.0;
        std::mem::forget(self);
        let (handle, used) = stream.end_capture()?;
        Ok(Graph {
            handle,
            device: stream.device().clone(),
            used,
        })
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        // Reached where `put` failed or panicked, which says what is wrong; the graph is of no use.
        if let Ok((graph, _used)) = self.0.end_capture() {
            // SAFETY: nobody has the graph.
            unsafe { self.0.device().driver().destroy_graph(graph) };
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle; streams keep the graphs that they launch.
        unsafe { self.device.driver().destroy_graph(self.handle) };
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
