//! Charts as SVG, drawn by `plotters`: no script, no font file, no request.
//!
//! Lines and words take the colour of the page's text, so that a chart is readable on a light page and on a dark one.

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Color as _, DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _, RGBColor,
    Rectangle, SVGBackend,
};
use plotters::style::{BLACK, IntoFont as _, TRANSPARENT, TextStyle};

/// Width in the SVG's own units, of which text has 13 (the backend writes less than it is told): read on a phone it shrinks to ten pixels, which is still text.
const WIDTH: u32 = 520;
const FONT: &str = "sans-serif";

/// Colours of kept, duplicate, dropped and no document: apart from each other for eyes that see no red or green too.
pub const COLOURS: [RGBColor; 4] = [
    RGBColor(0x2a, 0x9d, 0x8f),
    RGBColor(0x45, 0x7b, 0xd6),
    RGBColor(0xe7, 0x8a, 0x3b),
    RGBColor(0xb0, 0x4a, 0x6f),
];

/// A group of stacked bars: its label and how high each of its parts is.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// What stands beside it.
    pub label: String,
    /// Its parts, in the order of [`COLOURS`].
    pub parts: Vec<f64>,
}

impl Stack {
    fn total(&self) -> f64 {
        self.parts.iter().sum()
    }
}

/// How numbers are written beside an axis.
pub type Unit = dyn Fn(f64) -> String;

type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Bars side by side, upwards. `logarithmic` where numbers differ by thousands; stacks then have one part.
pub fn columns(stacks: &[Stack], across: &str, logarithmic: bool, unit: &Unit) -> Option<String> {
    drawn(300, |area| {
        let most = stacks.iter().map(Stack::total).fold(0.0, f64::max);
        let height = |value: f64| match logarithmic {
            // A bar of 1 is to be seen too.
            true => (value.max(0.5) * 2.0).log10(),
            false => value,
        };
        let count = stacks.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(16)
            .x_label_area_size(52)
            .y_label_area_size(58)
            .build_cartesian_2d(0.0..count, 0.0..height(most) * 1.05)?;
        let label = |x: &f64| {
            let at = stacks
                .iter()
                .zip(0..)
                .find(|(_, i)| (f64::from(*i) - x).abs() < 0.01);
            at.map_or_else(String::new, |(stack, _)| stack.label.clone())
        };
        let upward = |y: &f64| match logarithmic {
            true => unit(10.0_f64.powf(*y) / 2.0),
            false => unit(*y),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .axis_style(BLACK.mix(0.4))
            .x_labels(stacks.len().min(12) + 1)
            .y_labels(5)
            .x_desc(across)
            .x_label_formatter(&label)
            .y_label_formatter(&upward)
            .label_style(text(16))
            .axis_desc_style(text(16))
            .draw()?;
        for (stack, at) in stacks.iter().zip(0..) {
            let mut from = 0.0;
            for (part, colour) in stack.parts.iter().zip(COLOURS) {
                let to = from + part;
                if *part > 0.0 {
                    let low = if logarithmic { 0.0 } else { from };
                    let corners = [
                        (f64::from(at) + 0.08, low),
                        (f64::from(at) + 0.92, height(to)),
                    ];
                    chart.draw_series([Rectangle::new(corners, colour.filled())])?;
                }
                from = to;
            }
        }
        Ok(())
    })
}

/// Bars below each other, to the right, each with its label before it and its total behind it. With `shares` every bar is
/// as long as the others and its parts are shares of it.
pub fn rows(stacks: &[Stack], shares: bool, unit: &Unit) -> Option<String> {
    let row = 26;
    let height = row * u32::try_from(stacks.len()).unwrap_or(0) + 12;
    let labels: i32 = 170;
    let totals: i32 = 66;
    drawn(height, |area| {
        let width = i32::try_from(WIDTH).unwrap_or(0) - labels - totals;
        let most = stacks.iter().map(Stack::total).fold(0.0, f64::max);
        for (stack, top) in stacks.iter().zip((6..).step_by(row as usize)) {
            let whole = if shares { stack.total() } else { most };
            let label = shortened(&stack.label, 25);
            area.draw_text(&label, &text(16), (2, top + 4))?;
            let mut from = 0.0;
            for (part, colour) in stack.parts.iter().zip(COLOURS) {
                let place = |value: f64| {
                    let share = if whole > 0.0 { value / whole } else { 0.0 };
                    labels + rounded(share * f64::from(width))
                };
                let to = from + part;
                if *part > 0.0 {
                    // What is there at all is to be seen.
                    let corners = [
                        (place(from), top + 2),
                        (place(to).max(place(from) + 1), top + 20),
                    ];
                    area.draw(&Rectangle::new(corners, colour.filled()))?;
                }
                from = to;
            }
            let end = labels + width + 6;
            area.draw_text(&unit(stack.total()), &text(15), (end, top + 4))?;
        }
        Ok(())
    })
}

fn drawn(
    height: u32,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Drawn<()>,
) -> Option<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        // The backend writes to memory; what fails is a chart of nothing.
        draw(&area).ok()?;
        area.present().ok()?;
    }
    let size = format!("width=\"{WIDTH}\" height=\"{height}\" ");
    Some(
        svg.replacen(&size, "", 1)
            .replace("\"#000000\"", "\"currentColor\""),
    )
}

fn text(size: i32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&BLACK)
}

fn shortened(label: &str, most: usize) -> String {
    if label.chars().count() <= most {
        return label.to_owned();
    }
    let mut out: String = label.chars().take(most - 1).collect();
    out.push('…');
    out
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a place within a chart is far below 2^31"
)]
fn rounded(place: f64) -> i32 {
    place.round().clamp(0.0, 100_000.0) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stacks(numbers: &[f64]) -> Vec<Stack> {
        let stack = |number: &f64| Stack {
            label: format!("<{number}>"),
            parts: vec![*number, 1.0],
        };
        numbers.iter().map(stack).collect()
    }

    #[test]
    fn a_chart_has_a_bar_for_every_part_and_its_labels_are_escaped() {
        let unit = |number: f64| format!("{number:.0}");
        let svg = rows(&stacks(&[3.0, 0.0, 5.0]), true, &unit).unwrap();
        assert_eq!(svg.matches("<rect").count(), 5, "{svg}");
        assert!(svg.contains("&lt;3&gt;") && !svg.contains("<3>"), "{svg}");
        assert!(
            svg.contains("currentColor") && svg.contains("viewBox"),
            "{svg}"
        );
        for logarithmic in [false, true] {
            let svg = columns(&stacks(&[3.0, 1e6]), "things", logarithmic, &unit).unwrap();
            assert_eq!(svg.matches("<rect").count(), 4, "{svg}");
        }
    }

    #[test]
    fn a_chart_of_nothing_is_none_or_empty_and_no_panic() {
        let unit = |number: f64| number.to_string();
        for chart in [
            columns(&[], "", false, &unit),
            columns(&stacks(&[]), "", true, &unit),
            rows(&[], false, &unit),
            rows(&stacks(&[0.0]), true, &unit),
        ] {
            assert!(chart.is_none_or(|svg| svg.contains("<svg")));
        }
    }
}
