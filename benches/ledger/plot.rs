//! The figures as a picture: how long an operation takes, and how much memory that needs.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Row, micros};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A line's label, and its value at a size.
type Line = (&'static str, RGBColor, fn(&Row) -> f64);

const TIMES: [Line; 3] = [
    ("durable append", RGBColor(0xb0, 0x3a, 0x2e), |row| {
        micros(row.durable)
    }),
    ("find, prove, check", RGBColor(0x1f, 0x61, 0x8d), |row| {
        micros(row.prove)
    }),
    ("append without a disk", RGBColor(0x1e, 0x84, 0x49), |row| {
        micros(row.append)
    }),
];
const MEMORY: [Line; 3] = [
    ("the database", RGBColor(0x7f, 0x7f, 0x7f), |row| {
        mib(row.bytes)
    }),
    ("log verify", RGBColor(0xb0, 0x3a, 0x2e), |row| {
        mib(row.verify_memory)
    }),
    ("append and prove", RGBColor(0x1e, 0x84, 0x49), |row| {
        mib(row.memory)
    }),
];

/// Draws the figures.
pub(crate) fn draw(rows: &[Row], file: &Path) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(file, (960, 400)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(480);
    panel(
        &left,
        "microseconds for one entry",
        rows,
        &TIMES,
        10.0..100_000.0,
    )?;
    panel(
        &right,
        "MiB: maximum memory, and the database",
        rows,
        &MEMORY,
        1.0..10_000.0,
    )?;
    Ok(root.present()?)
}

fn panel(
    area: &Area<'_>,
    caption: &str,
    rows: &[Row],
    lines: &[Line],
    values: std::ops::Range<f64>,
) -> Result<(), Box<dyn Error>> {
    let sizes: Vec<f64> = rows.iter().map(|row| row.entries as f64).collect();
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else {
        return Err("nothing was measured".into());
    };
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((first * 0.9..last * 1.5).log_scale(), values.log_scale())?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("entries")
        .x_label_formatter(&short)
        .y_label_formatter(&short);
    mesh.label_style(("sans-serif", 12))
        .light_line_style(WHITE)
        .draw()?;
    for (label, colour, value) in lines {
        let points: Vec<(f64, f64)> = rows
            .iter()
            .zip(&sizes)
            .map(|(row, size)| (*size, value(row)))
            .collect();
        chart
            .draw_series(
                LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3),
            )?
            .label(*label)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 12))
        .draw()?;
    Ok(())
}

/// A power of ten in words.
fn short(value: &f64) -> String {
    match *value {
        large if large >= 1e6 => format!("{} million", large / 1e6),
        value => format!("{value}"),
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
