//! Curves over a linear axis, with error bars where points are means.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use super::{Area, COLORS, Drawn, SIZE, publish};

/// A line through some points.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// In order of their places.
    pub points: Vec<Point>,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Its place.
    pub x: f64,
    /// Its value.
    pub y: f64,
    /// How far the error bar reaches up and down; none for zero.
    pub deviation: f64,
}

/// What a picture says around its curves.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// Above it.
    pub title: &'a str,
    /// Of the places.
    pub x: &'a str,
    /// Of the values.
    pub y: &'a str,
}

/// Draws `curves` to the SVG file at `path`, where one is named.
///
/// # Errors
/// No points at all, or a file that cannot be written.
pub fn curves(path: Option<&Path>, labels: Labels<'_>, curves: &[Curve]) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    publish(path, SIZE, |root| draw(root, labels, curves))
}

fn draw(root: &Area<'_>, labels: Labels<'_>, curves: &[Curve]) -> Drawn {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    if points().next().is_none() {
        return Err("there are no points".into());
    }
    let least = |value: fn(&Point) -> f64| points().map(value).fold(f64::INFINITY, f64::min);
    let most = |value: fn(&Point) -> f64| points().map(value).fold(f64::NEG_INFINITY, f64::max);
    let (left, right) = (least(|point| point.x), most(|point| point.x));
    let (low, high) = (
        least(|point| point.y - point.deviation),
        most(|point| point.y + point.deviation),
    );
    let (side, above) = ((right - left).max(1e-9) * 0.03, (high - low).max(1e-9));
    // Room for the legend.
    let y = low - 0.05 * above..high + 0.3 * above;
    let mut chart = ChartBuilder::on(root)
        .margin(16)
        .caption(labels.title, ("sans-serif", 20))
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(left - side..right + side, y)?;
    chart
        .configure_mesh()
        .x_desc(labels.x)
        .y_desc(labels.y)
        .light_line_style(WHITE)
        .draw()?;
    for (curve, &color) in curves.iter().zip(COLORS.iter().cycle()) {
        let line = curve.points.iter().map(|point| (point.x, point.y));
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
        let bars = curve.points.iter().filter(|point| point.deviation > 0.0);
        chart.draw_series(bars.map(|point| {
            let (low, high) = (point.y - point.deviation, point.y + point.deviation);
            ErrorBar::new_vertical(point.x, low, point.y, high, color.filled(), 8)
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}
