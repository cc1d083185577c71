//! Pictures of results, as SVG files.

mod bars;
mod curves;
mod heat;
mod lines;

use std::path::Path;

use anyhow::{Result, anyhow};
use engram_io::publish_bytes;
use plotters::{coord::Shift, prelude::*};

pub use bars::bars;
pub use curves::{Curve, Labels, Point, curves};
pub use heat::{HeatMap, heat_map};
pub use lines::{Axes, Line, lines};

const SIZE: (u32, u32) = (900, 520);
const COLORS: [RGBColor; 14] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 50, 32),
    RGBColor(0, 120, 80),
    RGBColor(150, 80, 180),
    RGBColor(200, 130, 0),
    RGBColor(70, 70, 70),
    RGBColor(0, 150, 200),
    RGBColor(180, 0, 100),
    RGBColor(120, 160, 0),
    RGBColor(160, 200, 240),
    RGBColor(250, 170, 160),
    RGBColor(110, 60, 20),
    RGBColor(170, 170, 170),
    RGBColor(240, 210, 60),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Writes a picture of `size` to the file at `path`, whole or not at all.
fn publish(path: &Path, size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<()> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn = root.fill(&WHITE).map_err(Into::into);
    let drawn = drawn.and_then(|()| draw(&root));
    let drawn = drawn.and_then(|()| Ok(root.present()?));
    drop(root);
    drawn.map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))?;
    Ok(publish_bytes(path, svg.as_bytes())?)
}
