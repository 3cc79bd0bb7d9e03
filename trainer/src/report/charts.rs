//! Charts of a run as SVG, drawn by `plotters`: no script, no font file, no request.
//!
//! Axes and words take the colour of the page's text, so that a chart is readable on a light page and on a dark one.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{
    Cartesian2d, ChartBuilder, ChartContext, Circle, Color as _, DrawingArea, DrawingAreaErrorKind,
    IntoDrawingArea as _, PathElement, RGBColor, SVGBackend,
};
use plotters::style::{BLACK, IntoFont as _, TRANSPARENT, TextStyle};

/// Width and height in the SVG's own units: shrunk to a phone, words of 19 of them are ten pixels high.
const SIZE: (u32, u32) = (520, 300);
const WORDS: i32 = 19;
/// A line has no more points: a chart is not wider.
const MOST_POINTS: usize = 400;

/// Colours of runs, or of datasets, in order and then over again: apart from each other for eyes that see no red or green too.
pub(super) const COLOURS: [RGBColor; 8] = [
    RGBColor(0x2a, 0x9d, 0x8f),
    RGBColor(0x45, 0x7b, 0xd6),
    RGBColor(0xe7, 0x8a, 0x3b),
    RGBColor(0xb0, 0x4a, 0x6f),
    RGBColor(0x8a, 0x6f, 0xc8),
    RGBColor(0x8c, 0x9a, 0x2e),
    RGBColor(0x3f, 0xa7, 0xd6),
    RGBColor(0x9b, 0x6a, 0x4a),
];

/// A line over steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// Place in [`COLOURS`].
    pub(super) colour: usize,
    /// Step and number, steps ascending.
    pub(super) points: Vec<(f64, f64)>,
    /// Numbers that change from step to step are drawn smoothed, with what they are as a shadow behind.
    pub(super) noisy: bool,
}

type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Lines over steps; none where no number is finite.
pub(super) fn over_steps(lines: &[Line]) -> Option<String> {
    let finite = |line: &Line| {
        let points = line.points.iter().copied();
        Line {
            points: points.filter(|(_, number)| number.is_finite()).collect(),
            ..*line
        }
    };
    let lines: Vec<Line> = lines.iter().map(finite).collect();
    let steps = lines
        .iter()
        .flat_map(|line| &line.points)
        .map(|point| point.0);
    let steps = padded(ends(steps)?, 0.0);
    let shown: Vec<Vec<(f64, f64)>> = lines.iter().map(shown).collect();
    let numbers = shown.iter().flatten().map(|point| point.1);
    let shadows = lines.iter().filter(|line| line.noisy).flat_map(middle);
    let numbers = padded(ends(numbers.chain(shadows))?, 0.06);
    drawn(|area| {
        let beside = Beside {
            labels: 6,
            what: "step",
            label: &tick,
        };
        let mut chart = framed(area, steps.clone(), numbers.clone(), &beside)?;
        for line in lines.iter().filter(|line| line.noisy) {
            let colour = COLOURS[line.colour % COLOURS.len()].mix(0.25);
            let within =
                |(step, number): (f64, f64)| (step, number.clamp(numbers.start, numbers.end));
            let points: Vec<_> = fewer(&line.points).into_iter().map(within).collect();
            chart.draw_series([PathElement::new(points, colour)])?;
        }
        for (line, points) in lines.iter().zip(&shown) {
            let colour = COLOURS[line.colour % COLOURS.len()];
            let path = PathElement::new(points.clone(), colour.stroke_width(2));
            chart.draw_series([path])?;
            if !line.noisy && points.len() <= 60 {
                let mark = |point: &(f64, f64)| Circle::new(*point, 3, colour.filled());
                chart.draw_series(points.iter().map(mark))?;
            }
        }
        Ok(())
    })
}

/// What stands beside the lower axis.
pub(super) struct Beside<'a> {
    /// So many labels, about.
    pub(super) labels: usize,
    /// What the axis is of.
    pub(super) what: &'a str,
    /// What stands at a place of it.
    pub(super) label: &'a dyn Fn(f64) -> String,
}

type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A chart with its axes, and nothing on it yet.
pub(super) fn framed<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    places: Range<f64>,
    numbers: Range<f64>,
    beside: &Beside<'_>,
) -> Drawn<Chart<'a>> {
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(18)
        .x_label_area_size(54)
        .y_label_area_size(74)
        .build_cartesian_2d(places, numbers)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(BLACK.mix(0.4))
        .x_labels(beside.labels)
        .y_labels(5)
        .x_desc(beside.what)
        .x_label_formatter(&|place: &f64| (beside.label)(*place))
        .y_label_formatter(&|number: &f64| tick(*number))
        .label_style(text())
        .axis_desc_style(text())
        .draw()?;
    Ok(chart)
}

/// What is drawn of a line in full colour.
fn shown(line: &Line) -> Vec<(f64, f64)> {
    if line.noisy {
        fewer(&smoothed(&line.points))
    } else {
        fewer(&line.points)
    }
}

/// The exponential moving average over about a fortieth of the points, corrected for its beginning as Adam's moments are.
pub(super) fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let over = (points.len() / 40).max(1) as f64;
    let keep = 1.0 - 2.0 / (over + 1.0);
    let (mut average, mut weight) = (0.0, 0.0);
    let smooth = |(step, number): &(f64, f64)| {
        average = keep * average + (1.0 - keep) * number;
        weight = keep * weight + (1.0 - keep);
        (*step, average / weight)
    };
    points.iter().map(smooth).collect()
}

/// At most [`MOST_POINTS`]: the means of neighbours, and the last point as it is.
fn fewer(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let mean = |chunk: &[(f64, f64)]| {
        let count = chunk.len() as f64;
        let sum = chunk
            .iter()
            .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / count, sum.1 / count)
    };
    let chunks = points.chunks(points.len().div_ceil(MOST_POINTS - 1));
    chunks.map(mean).chain(points.last().copied()).collect()
}

/// The numbers below and above which there are two of a hundred each: one outlier is no reason to flatten a curve.
fn middle(line: &Line) -> [f64; 2] {
    let mut numbers: Vec<f64> = line.points.iter().map(|point| point.1).collect();
    numbers.sort_by(f64::total_cmp);
    let at = |place: usize| numbers.get(place).copied().unwrap_or(f64::NAN);
    let beyond = numbers.len() / 50;
    [at(beyond), at(numbers.len().saturating_sub(1 + beyond))]
}

/// The least and the largest; none of nothing.
pub(super) fn ends(numbers: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let finite = numbers.filter(|number| number.is_finite());
    let wider = |range: Option<Range<f64>>, number: f64| {
        let range = range.unwrap_or(number..number);
        Some(range.start.min(number)..range.end.max(number))
    };
    finite.fold(None, wider)
}

/// A range that is not empty, and wider by `share` of it on both sides.
pub(super) fn padded(range: Range<f64>, share: f64) -> Range<f64> {
    let width = range.end - range.start;
    let more = if width > 0.0 {
        width * share
    } else {
        range.end.abs().max(1e-9) * 0.5
    };
    range.start - more..range.end + more
}

pub(super) fn drawn(
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Drawn<()>,
) -> Option<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        // The backend writes to memory; what fails is a chart of nothing.
        draw(&area).ok()?;
        area.present().ok()?;
    }
    let size = format!("width=\"{}\" height=\"{}\" ", SIZE.0, SIZE.1);
    Some(
        svg.replacen(&size, "", 1)
            .replace("\"#000000\"", "\"currentColor\""),
    )
}

pub(super) fn text() -> TextStyle<'static> {
    ("sans-serif", WORDS).into_font().color(&BLACK)
}

/// A number as it stands beside an axis: short, and without digits that say nothing.
pub(super) fn tick(number: f64) -> String {
    let size = number.abs();
    let trimmed = |text: String| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    };
    match size {
        s if s < 1e-12 => "0".to_owned(),
        s if s >= 1e9 => format!("{}G", trimmed(format!("{:.2}", number / 1e9))),
        s if s >= 1e6 => format!("{}M", trimmed(format!("{:.2}", number / 1e6))),
        s if s >= 1e4 => format!("{}k", trimmed(format!("{:.1}", number / 1e3))),
        s if s >= 100.0 => format!("{number:.0}"),
        s if s >= 1.0 => trimmed(format!("{number:.2}")),
        s if s >= 0.01 => trimmed(format!("{number:.4}")),
        _ => format!("{number:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: &[(f64, f64)], noisy: bool) -> Line {
        Line {
            colour: 1,
            points: points.to_vec(),
            noisy,
        }
    }

    #[test]
    fn a_chart_has_a_line_for_every_run_and_a_shadow_where_it_is_noisy() {
        let points: Vec<(f64, f64)> = (0..1000)
            .map(|i| (f64::from(i), f64::from(i % 7)))
            .collect();
        let svg = over_steps(&[line(&points, true), line(&points[..5], false)]).unwrap();
        let lines = svg
            .split("<polyline")
            .filter(|line| line.contains("#457BD6"));
        assert_eq!(lines.count(), 3, "{svg}");
        assert_eq!(svg.matches("<circle").count(), 5);
        assert!(svg.contains("#457BD6") && svg.contains("currentColor") && svg.contains("viewBox"));
        assert!(svg.len() < 40_000, "{}", svg.len());
    }

    #[test]
    fn charts_of_little_or_nothing_are_none_or_whole() {
        assert_eq!(over_steps(&[]), None);
        assert_eq!(over_steps(&[line(&[(1.0, f64::NAN)], true)]), None);
        for points in [
            &[(1.0, 0.0)][..],
            &[(1.0, 2.0), (2.0, 2.0)],
            &[(1.0, f64::INFINITY), (2.0, 1e300)],
        ] {
            for noisy in [false, true] {
                assert!(
                    over_steps(&[line(points, noisy)])
                        .unwrap()
                        .contains("</svg>")
                );
            }
        }
    }

    #[test]
    fn smoothing_keeps_what_is_level_and_the_means_keep_the_sum() {
        let level: Vec<(f64, f64)> = (0..400).map(|i| (f64::from(i), 3.0)).collect();
        assert!(
            smoothed(&level)
                .iter()
                .all(|point| (point.1 - 3.0).abs() < 1e-12)
        );
        // Over 10 of 400 points: a unit step is followed by 1 - (9/11)^n after n.
        let step: Vec<(f64, f64)> = (0..400)
            .map(|i| (f64::from(i), f64::from(u8::from(i >= 300))))
            .collect();
        let after: f64 = 1.0 - (9.0_f64 / 11.0).powi(7);
        assert!((smoothed(&step)[306].1 - after).abs() < 1e-9);
        let points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), f64::from(i))).collect();
        let few = fewer(&points);
        assert!(few.len() <= MOST_POINTS && few.last() == points.last());
        assert_eq!(few[0], (1.0, 1.0));
    }

    #[test]
    fn numbers_beside_an_axis_are_short() {
        assert_eq!(
            [0.0, 3.5, 3.0, 250.0, 12_500.0, 2e6, 4e-3, 0.25, -1.5].map(tick),
            [
                "0", "3.5", "3", "250", "12.5k", "2M", "4.0e-3", "0.25", "-1.5"
            ]
        );
    }
}
