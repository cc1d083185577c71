//! Values as colours.

use std::path::Path;

use anyhow::{Result, ensure};
use plotters::{
    prelude::*,
    style::{
        FontTransform,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{Area, Drawn, publish};

const FONT: i32 = 15;
/// What a character of [`FONT`] takes, on average.
const LETTER: i32 = 8;
const MARGIN: i32 = 16;
const TITLE: i32 = 40;
/// Of the name of an axis.
const NAME: i32 = 24;
/// The colour bar, and the space on both sides of it.
const BAR: [i32; 3] = [18, 14, 48];
/// What the cells would like to have of each direction.
const CELLS: i32 = 760;
/// What a cell has at least, and at most in width and in height.
const CELL: [i32; 3] = [15, 44, 34];
/// Characters of a label; the rest is cut off.
const LABEL: usize = 24;

/// A table of values that are drawn as colours.
#[derive(Debug, Clone, Copy)]
pub struct HeatMap<'a> {
    /// Above everything.
    pub title: &'a str,
    /// What the columns are.
    pub x: &'a str,
    /// What the rows are.
    pub y: &'a str,
    /// A label for each column, from the left.
    pub columns: &'a [String],
    /// A label for each row, from the top.
    pub rows: &'a [String],
    /// `[row][column]`.
    pub values: &'a [Vec<f64>],
    /// The least and the greatest value that the colours tell apart.
    pub range: [f64; 2],
    /// Cells with a dot, by row and column.
    pub marked: &'a [(usize, usize)],
}

/// Draws `map` with a colour bar to the SVG file at `path`, where one is named. Spaces at the ends of labels
/// and line ends are shown as signs.
///
/// # Errors
/// Values that do not have a row for each label or a column for each, no values at all, a range without an
/// extent, and a file that cannot be written.
pub fn heat_map(path: Option<&Path>, map: &HeatMap<'_>) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    check(map)?;
    let labels =
        |texts: &[String]| -> Vec<String> { texts.iter().map(|text| label(text)).collect() };
    let (columns, rows) = (labels(map.columns), labels(map.rows));
    let widest = |labels: &[String]| {
        let lengths = labels.iter().map(|label| label.chars().count());
        pixels(lengths.max().unwrap_or(0))
    };
    let layout = Layout::new(map, [widest(&columns), widest(&rows)]);
    publish(path, layout.size, |root| {
        draw(root, map, &layout, columns, rows)
    })
}

fn check(map: &HeatMap<'_>) -> Result<()> {
    let (rows, columns) = (map.rows.len(), map.columns.len());
    ensure!(
        rows > 0 && columns > 0,
        "a heat map of {rows} rows and {columns} columns, expected one of each at least"
    );
    ensure!(
        map.values.len() == rows,
        "a heat map has {rows} labels of rows, but {} rows",
        map.values.len()
    );
    if let Some(row) = map.values.iter().position(|row| row.len() != columns) {
        let found = map.values[row].len();
        anyhow::bail!("row {row} of a heat map has {found} values, expected {columns}");
    }
    let [low, high] = map.range;
    ensure!(
        low < high,
        "a heat map's range is {low} to {high}, expected the first to be less"
    );
    Ok(())
}

/// A label as it is drawn: XML may not have control characters, and spaces at its ends would not be seen.
fn label(text: &str) -> String {
    let sign = |c: char| match c {
        '\n' => '\u{21b5}',
        '\t' => '\u{2192}',
        '\r' => '\u{2190}',
        c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
        c => c,
    };
    let short: String = text.chars().take(LABEL).collect();
    let (head, tail) = (short.trim_start_matches(' '), short.trim_end_matches(' '));
    let before = short.len() - head.len();
    let after = head.len().min(short.len() - tail.len());
    let dots = |count: usize| "\u{b7}".repeat(count);
    let middle: String = head[..head.len() - after].chars().map(sign).collect();
    let cut = if text.len() > short.len() {
        "\u{2026}"
    } else {
        ""
    };
    dots(before) + &middle + &dots(after) + cut
}

fn pixels(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX / 1024)
}

/// Where things are, in pixels.
struct Layout {
    cell: [i32; 2],
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
    size: (u32, u32),
}

impl Layout {
    /// For labels of so many characters at most.
    fn new(map: &HeatMap<'_>, widest: [i32; 2]) -> Self {
        // An axis is as long as its name at least.
        let cell = |name: &str, count: usize, most: i32| {
            let least = (pixels(name.chars().count()) * LETTER) / pixels(count) + 1;
            (CELLS / pixels(count)).clamp(CELL[0], most).max(least)
        };
        let cell = [
            cell(map.x, map.columns.len(), CELL[1]),
            cell(map.y, map.rows.len(), CELL[2]),
        ];
        let left = MARGIN + NAME + widest[1] * LETTER + 10;
        let top = MARGIN + TITLE;
        let right = left + cell[0] * pixels(map.columns.len());
        let bottom = top + cell[1] * pixels(map.rows.len());
        let width = right + BAR.iter().sum::<i32>() + MARGIN;
        let height = bottom + 10 + widest[0] * LETTER + NAME + MARGIN;
        // Room for the title and the colour bar.
        let (width, height) = (width.max(360), height.max(220));
        let size = |pixels: i32| u32::try_from(pixels).expect("a sum of sizes");
        Self {
            cell,
            left,
            top,
            right,
            bottom,
            size: (size(width), size(height)),
        }
    }

    fn corner(&self, row: usize, column: usize) -> (i32, i32) {
        (
            self.left + self.cell[0] * pixels(column),
            self.top + self.cell[1] * pixels(row),
        )
    }
}

/// Of a share between nothing and all: from white over blue to near black.
fn color(share: f64) -> RGBColor {
    const STOPS: [[f64; 3]; 4] = [
        [247.0, 251.0, 255.0],
        [150.0, 196.0, 222.0],
        [33.0, 113.0, 181.0],
        [8.0, 29.0, 88.0],
    ];
    let place = share.clamp(0.0, 1.0) * 3.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between zero and 255"
    )]
    let whole = |value: f64| value as u8;
    let stop = usize::from(whole(place)).min(2);
    let between = place - f64::from(whole(place).min(2));
    let part = |part: usize| {
        let [from, to] = [STOPS[stop][part], STOPS[stop + 1][part]];
        whole((from + between * (to - from)).round())
    };
    RGBColor(part(0), part(1), part(2))
}

fn draw(
    root: &Area<'_>,
    map: &HeatMap<'_>,
    layout: &Layout,
    columns: Vec<String>,
    rows: Vec<String>,
) -> Drawn {
    draw_cells(root, map, layout)?;
    let text = |size: i32, h: HPos, v: VPos| {
        ("sans-serif", size)
            .into_text_style(root)
            .pos(Pos::new(h, v))
    };
    let turned = |style: TextStyle<'static>| style.transform(FontTransform::Rotate270);
    let middle = |from: i32, to: i32| i32::midpoint(from, to);
    root.draw(&Text::new(
        map.title,
        (MARGIN, MARGIN),
        text(20, HPos::Left, VPos::Top),
    ))?;
    let (width, height) = (layout.cell[0], layout.cell[1]);
    for (column, label) in columns.into_iter().enumerate() {
        let place = (layout.corner(0, column).0 + width / 2, layout.bottom + 6);
        let style = turned(text(FONT, HPos::Right, VPos::Center));
        root.draw(&Text::new(label, place, style))?;
    }
    for (row, label) in rows.into_iter().enumerate() {
        let place = (layout.left - 6, layout.corner(row, 0).1 + height / 2);
        root.draw(&Text::new(
            label,
            place,
            text(FONT, HPos::Right, VPos::Center),
        ))?;
    }
    let low = pixels(layout.size.1 as usize) - MARGIN;
    let place = (middle(layout.left, layout.right), low);
    root.draw(&Text::new(
        map.x,
        place,
        text(16, HPos::Center, VPos::Bottom),
    ))?;
    let place = (MARGIN, middle(layout.top, layout.bottom));
    let style = turned(text(16, HPos::Center, VPos::Top));
    root.draw(&Text::new(map.y, place, style))?;
    draw_bar(root, map, layout)
}

fn draw_cells(root: &Area<'_>, map: &HeatMap<'_>, layout: &Layout) -> Drawn {
    let [low, high] = map.range;
    let share = |value: f64| (value - low) / (high - low);
    for (row, values) in map.values.iter().enumerate() {
        for (column, &value) in values.iter().enumerate() {
            let (x, y) = layout.corner(row, column);
            let corners = [(x, y), (x + layout.cell[0], y + layout.cell[1])];
            root.draw(&Rectangle::new(corners, color(share(value)).filled()))?;
        }
    }
    for &(row, column) in map.marked {
        let (x, y) = layout.corner(row, column);
        let place = (x + layout.cell[0] / 2, y + layout.cell[1] / 2);
        let dark = share(map.values[row][column]) > 0.4;
        let ink = if dark { WHITE } else { BLACK };
        root.draw(&Circle::new(place, 3, ink.filled()))?;
    }
    let frame = [(layout.left, layout.top), (layout.right, layout.bottom)];
    root.draw(&Rectangle::new(frame, BLACK.mix(0.4)))?;
    Ok(())
}

/// The colours and what they mean, beside the cells.
fn draw_bar(root: &Area<'_>, map: &HeatMap<'_>, layout: &Layout) -> Drawn {
    const STEPS: i32 = 50;
    let [low, high] = map.range;
    let (left, right) = (layout.right + BAR[1], layout.right + BAR[1] + BAR[0]);
    let bottom = layout.bottom.max(layout.top + 90);
    let height = bottom - layout.top;
    for step in 0..STEPS {
        let y = |step: i32| bottom - height * step / STEPS;
        let color = color((f64::from(step) + 0.5) / f64::from(STEPS));
        let corners = [(left, y(step + 1)), (right, y(step))];
        root.draw(&Rectangle::new(corners, color.filled()))?;
    }
    root.draw(&Rectangle::new(
        [(left, layout.top), (right, bottom)],
        BLACK.mix(0.4),
    ))?;
    for tick in 0..=4 {
        let value = low + (high - low) * f64::from(tick) / 4.0;
        let style = ("sans-serif", FONT)
            .into_text_style(root)
            .pos(Pos::new(HPos::Left, VPos::Center));
        let place = (right + 5, bottom - height * tick / 4);
        root.draw(&Text::new(format!("{value:.2}"), place, style))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
