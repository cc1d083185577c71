//! Bars in groups over a logarithmic axis.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use super::{Area, COLORS, Drawn, SIZE, publish};

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
    publish(path, SIZE, |root| draw(root, title, y, names, groups))
}

fn draw(
    root: &Area<'_>,
    title: &str,
    y: &str,
    names: &[&str],
    groups: &[(String, Vec<f64>)],
) -> Drawn {
    let values = || groups.iter().flat_map(|(_, values)| values).copied();
    let low = values().fold(f64::INFINITY, f64::min) * 0.7;
    // Room for the legend.
    let high = values().fold(0.0, f64::max) * 10.0;
    // A place for each bar, and one between groups.
    let per_group = names.len() + 1;
    let mut chart = ChartBuilder::on(root)
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
    Ok(())
}
