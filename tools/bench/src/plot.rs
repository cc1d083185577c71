//! Pictures of results.

mod curves;
mod heat;

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

pub use curves::{Curve, Labels, Point, curves};
pub use heat::{HeatMap, heat_map};

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
    draw(path, axes, lines).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

/// Draws a group of bars over a logarithmic axis for each of `groups`, whose values are those of `names` in
/// order, to the SVG file at `path`, where one is named.
///
/// # Errors
/// A file that cannot be written.
///
/// # Panics
/// If a group has fewer values than there are names.
pub fn bars(
    path: Option<&Path>,
    title: &str,
    y: &str,
    names: &[&str],
    groups: &[(String, Vec<f64>)],
) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    draw_bars(path, title, y, names, groups)
        .map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn draw_bars(
    path: &Path,
    title: &str,
    y: &str,
    names: &[&str],
    groups: &[(String, Vec<f64>)],
) -> Result<(), Box<dyn std::error::Error>> {
    let values = || groups.iter().flat_map(|(_, values)| values).copied();
    let low = values().fold(f64::INFINITY, f64::min) * 0.7;
    // Room for the legend.
    let high = values().fold(0.0, f64::max) * 10.0;
    // A place for each bar, and one between groups.
    let per_group = names.len() + 1;
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .caption(title, ("sans-serif", 20))
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(
            (0..groups.len() * per_group - 1).into_segmented(),
            (low..high).log_scale(),
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(groups.len() * per_group)
        .x_label_formatter(&|place| match place {
            SegmentValue::CenterOf(place) if place % per_group == names.len() / 2 => groups
                .get(place / per_group)
                .map_or_else(String::new, |group| group.0.clone()),
            _ => String::new(),
        })
        .y_desc(y)
        .y_label_formatter(&|value| format!("{value:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    for (index, (name, &color)) in names.iter().zip(COLORS.iter().cycle()).enumerate() {
        let bars = groups.iter().enumerate().map(|(group, (_, values))| {
            let place = group * per_group + index;
            let corners = [
                (SegmentValue::Exact(place), low),
                (SegmentValue::Exact(place + 1), values[index]),
            ];
            Rectangle::new(corners, color.filled())
        });
        chart
            .draw_series(bars)?
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}

fn draw(path: &Path, axes: Axes<'_>, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let low_x = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let high_x = points().map(|point| point.0).fold(0.0, f64::max);
    let low_y = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high_y = points().map(|point| point.1).fold(0.0, f64::max);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&root);
    builder
        .margin(16)
        .caption(axes.title, ("sans-serif", 20))
        .x_label_area_size(44)
        .y_label_area_size(72);
    let x_labels = if axes.x_log { 4 } else { whole(high_x - low_x) };
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
    root.present()?;
    Ok(())
}

/// Labels of a linear axis with one at each whole number, while these are few.
fn whole(extent: f64) -> usize {
    let few = (2..16_u8).find(|&count| extent < f64::from(count));
    few.unwrap_or(10).into()
}
