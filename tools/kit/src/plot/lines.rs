//! Lines over linear or logarithmic axes.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use super::{Area, COLORS, Drawn, SIZE, publish};

/// A line of a chart.
#[derive(Debug, Clone)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// What the axes mean.
#[derive(Debug, Clone, Copy)]
pub struct Axes<'a> {
    /// Above everything.
    pub title: &'a str,
    /// Of the horizontal axis.
    pub x: &'a str,
    /// Of the vertical axis.
    pub y: &'a str,
    /// Whether the horizontal axis is logarithmic.
    pub x_log: bool,
    /// Whether the vertical axis is logarithmic; it begins at zero otherwise.
    pub y_log: bool,
}

/// Draws `lines` to the SVG file at `path`, where one is named.
///
/// # Errors
/// A file that cannot be written.
pub fn lines(path: Option<&Path>, axes: Axes<'_>, lines: &[Line]) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    publish(path, SIZE, |root| draw(root, axes, lines))
}

fn draw(root: &Area<'_>, axes: Axes<'_>, lines: &[Line]) -> Drawn {
    let points = || lines.iter().flat_map(|line| &line.points);
    let low_x = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let high_x = points().map(|point| point.0).fold(0.0, f64::max);
    let low_y = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high_y = points().map(|point| point.1).fold(0.0, f64::max);
    let mut builder = ChartBuilder::on(root);
    builder
        .margin(16)
        .caption(axes.title, ("sans-serif", 20))
        .x_label_area_size(44)
        .y_label_area_size(72);
    let x_labels = if axes.x_log {
        4
    } else {
        label_count(high_x - low_x)
    };
    macro_rules! chart {
        ($x:expr, $y:expr) => {{
            let mut chart = builder.build_cartesian_2d($x, $y)?;
            chart
                .configure_mesh()
                .x_desc(axes.x)
                .x_labels(x_labels)
                .x_label_formatter(&|value| format!("{value:.0}"))
                .y_desc(axes.y)
                .light_line_style(WHITE)
                .draw()?;
            for (line, &color) in lines.iter().zip(COLORS.iter().cycle()) {
                let points = line.points.iter().copied();
                let series = LineSeries::new(points, color.stroke_width(2)).point_size(3);
                chart
                    .draw_series(series)?
                    .label(&line.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .draw()?;
        }};
    }
    let x_log = || (low_x..high_x * 1.05).log_scale();
    let y_log = || (low_y * 0.8..high_y * 1.25).log_scale();
    // Room for the legend.
    let y = 0.0..high_y * 1.4;
    match (axes.x_log, axes.y_log) {
        (true, true) => chart!(x_log(), y_log()),
        (true, false) => chart!(x_log(), y),
        (false, true) => chart!(low_x..high_x, y_log()),
        (false, false) => chart!(low_x..high_x, y),
    }
    Ok(())
}

/// How many labels a linear axis has: one at each whole number if there are fewer than sixteen, else ten.
fn label_count(extent: f64) -> usize {
    let few = (2..16_u8).find(|&count| extent < f64::from(count));
    few.unwrap_or(10).into()
}
