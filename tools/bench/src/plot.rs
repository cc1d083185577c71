//! Pictures of results.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (900, 520);
const COLORS: [RGBColor; 9] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 50, 32),
    RGBColor(0, 120, 80),
    RGBColor(150, 80, 180),
    RGBColor(200, 130, 0),
    RGBColor(70, 70, 70),
    RGBColor(0, 150, 200),
    RGBColor(180, 0, 100),
    RGBColor(120, 160, 0),
];

/// A line of a chart.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What the axes mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axes<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) y_log: bool,
}

/// Draws `lines` over a logarithmic x axis to the SVG file at `path`, where one is named.
pub(crate) fn lines(path: Option<&Path>, axes: Axes<'_>, lines: &[Line]) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    draw(path, axes, lines).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
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
    let x = (low_x..high_x * 1.05).log_scale();
    macro_rules! chart {
        ($y:expr) => {{
            let mut chart = builder.build_cartesian_2d(x, $y)?;
            chart
                .configure_mesh()
                .x_desc(axes.x)
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
    if axes.y_log {
        chart!((low_y * 0.8..high_y * 1.25).log_scale());
    } else {
        chart!(0.0..high_y * 1.1);
    }
    root.present()?;
    Ok(())
}
