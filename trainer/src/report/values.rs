//! Charts of numbers over the values of a field, and of differences with their intervals: for comparisons and sweeps.

use plotters::prelude::{ChartBuilder, Circle, Color as _, PathElement};
use plotters::style::{BLACK, TRANSPARENT};

use super::charts::{Beside, COLOURS, drawn, ends, framed, padded, text, tick};

/// What stands beside an axis of values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Axis {
    /// Numbers as they are.
    Numbers,
    /// Numbers by their logarithm; the points have it already.
    Logarithms,
    /// Names, by their place.
    Names(Vec<String>),
}

impl Axis {
    /// The axis that suits the values of a field, and where each of them stands on it. Numbers that are all above zero and a
    /// decade apart stand by their logarithm.
    pub(super) fn of(values: &[toml::Value]) -> (Self, Vec<f64>) {
        let number = |value: &toml::Value| match value {
            toml::Value::Integer(number) => Some(*number as f64),
            toml::Value::Float(number) if number.is_finite() => Some(*number),
            _ => None,
        };
        if let Some(numbers) = values.iter().map(number).collect::<Option<Vec<f64>>>() {
            let range = ends(numbers.iter().copied()).unwrap_or(0.0..0.0);
            if range.start > 0.0 && range.end >= 10.0 * range.start {
                return (
                    Self::Logarithms,
                    numbers.iter().map(|n| n.log10()).collect(),
                );
            }
            return (Self::Numbers, numbers);
        }
        let mut names: Vec<String> = Vec::new();
        let places = values.iter().map(|value| {
            let name = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let known = names.iter().position(|known| *known == name);
            let place = known.unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            place as f64
        });
        let places = places.collect();
        (Self::Names(names), places)
    }

    fn label(&self, place: f64) -> String {
        match self {
            Self::Numbers => tick(place),
            Self::Logarithms => tick(10_f64.powf(place)),
            Self::Names(names) => {
                let nearest = place.round();
                let named = names
                    .iter()
                    .enumerate()
                    .find(|(at, _)| (*at as f64 - nearest).abs() < 0.5);
                // Between two names stands nothing.
                match named {
                    Some((_, name)) if (place - nearest).abs() < 0.05 => shortened(name),
                    _ => String::new(),
                }
            }
        }
    }
}

/// As much of a name as has room beside an axis.
fn shortened(name: &str) -> String {
    const MOST: usize = 16;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// Points of a number over the places of values, a line through the means of those that stand at one place, the `best` filled; none where no number is finite.
pub(super) fn over_values(
    points: &[(f64, f64)],
    axis: &Axis,
    field: &str,
    best: usize,
) -> Option<String> {
    let finite: Vec<(usize, (f64, f64))> = points
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, (place, number))| place.is_finite() && number.is_finite())
        .collect();
    let places = match axis {
        Axis::Names(names) => -0.5..names.len() as f64 - 0.5,
        _ => padded(ends(finite.iter().map(|(_, point)| point.0))?, 0.06),
    };
    let numbers = padded(ends(finite.iter().map(|(_, point)| point.1))?, 0.06);
    let labels = match axis {
        Axis::Names(names) => 2 * names.len() + 1,
        _ => 5,
    };
    drawn(|area| {
        let beside = Beside {
            labels,
            what: field,
            label: &|place| axis.label(place),
        };
        let mut chart = framed(area, places.clone(), numbers.clone(), &beside)?;
        let means = means(finite.iter().map(|(_, point)| *point));
        if means.len() > 1 && !matches!(axis, Axis::Names(_)) {
            chart.draw_series([PathElement::new(means, COLOURS[1].mix(0.4))])?;
        }
        let mark = |(at, point): &(usize, (f64, f64))| {
            if *at == best {
                Circle::new(*point, 6, COLOURS[2].filled())
            } else {
                Circle::new(*point, 4, COLOURS[1].mix(0.7).filled())
            }
        };
        // The best over what stands where it stands.
        let others = finite.iter().filter(|(at, _)| *at != best);
        let best = finite.iter().filter(|(at, _)| *at == best);
        chart.draw_series(others.chain(best).map(mark))?;
        Ok(())
    })
}

/// The means of the numbers at each place, places ascending.
fn means(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = points.collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mean = |at_one: &[(f64, f64)]| {
        let sum: f64 = at_one.iter().map(|point| point.1).sum();
        (at_one[0].0, sum / at_one.len() as f64)
    };
    points.chunk_by(|a, b| a.0 == b.0).map(mean).collect()
}

/// Differences with the intervals that hold them, a row each, zero as a line; none of nothing.
pub(super) fn intervals(rows: &[(usize, f64, [f64; 2])], what: &str) -> Option<String> {
    let all = rows
        .iter()
        .flat_map(|(_, value, [low, high])| [*value, *low, *high, 0.0]);
    let numbers = padded(ends(all)?, 0.06);
    let height = rows.len() as f64;
    drawn(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_left(18)
            .margin_right(18)
            .x_label_area_size(54)
            .build_cartesian_2d(numbers.clone(), 0.0..height)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .axis_style(BLACK.mix(0.4))
            .disable_y_axis()
            .x_labels(5)
            .x_desc(what)
            .x_label_formatter(&|number: &f64| tick(*number))
            .label_style(text())
            .axis_desc_style(text())
            .draw()?;
        let zero = vec![(0.0, 0.0), (0.0, height)];
        chart.draw_series([PathElement::new(zero, BLACK.mix(0.5))])?;
        for (row, (colour, value, [low, high])) in rows.iter().enumerate() {
            // The first stands on top.
            let at = height - row as f64 - 0.5;
            let colour = COLOURS[colour % COLOURS.len()];
            let line = vec![(*low, at), (*high, at)];
            chart.draw_series([PathElement::new(line, colour.stroke_width(3))])?;
            chart.draw_series([Circle::new((*value, at), 6, colour.filled())])?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::Value;

    #[test]
    fn values_stand_where_they_belong() {
        let floats = |values: &[f64]| values.iter().copied().map(Value::Float).collect::<Vec<_>>();
        let (axis, places) = Axis::of(&floats(&[1e-3, 1e-2, 3e-3]));
        assert_eq!((axis.clone(), places[1]), (Axis::Logarithms, -2.0));
        assert_eq!(axis.label(-2.0), "0.01");
        assert_eq!(Axis::of(&floats(&[0.0, 10.0])).0, Axis::Numbers);
        assert_eq!(Axis::of(&floats(&[0.9, 0.99])).0, Axis::Numbers);
        assert_eq!(
            Axis::of(&[Value::Integer(8), Value::Float(80.0)]).0,
            Axis::Logarithms
        );
        let text = |text: &str| Value::String(text.to_owned());
        let (axis, places) = Axis::of(&[text("xpos"), Value::Boolean(true), text("xpos")]);
        assert_eq!(places, [0.0, 1.0, 0.0]);
        assert_eq!(
            [0.0, 0.5, 1.0].map(|at| axis.label(at)),
            ["xpos", "", "true"]
        );
    }

    #[test]
    fn every_trial_has_a_mark_and_the_best_its_own() {
        let points = [(1.0, 3.0), (2.0, 2.0), (2.0, 4.0), (3.0, f64::NAN)];
        let svg = over_values(&points, &Axis::Numbers, "model.layers", 1).unwrap();
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
        assert_eq!(svg.matches("#E78A3B").count(), 1);
        assert!(svg.contains("model.layers") && svg.contains("<polyline"));
        assert_eq!(over_values(&points[3..], &Axis::Numbers, "x", 0), None);
        let names = Axis::Names(vec!["xpos".to_owned(), "rotary".to_owned()]);
        let svg = over_values(&[(0.0, 1.0), (1.0, 2.0)], &names, "model.positions", 0).unwrap();
        assert!(svg.contains("xpos") && svg.contains("rotary"), "{svg}");
        assert_eq!(
            means([(2.0, 1.0), (-1.0, 5.0), (2.0, 3.0), (-3.0, 0.0)].into_iter()),
            [(-3.0, 0.0), (-1.0, 5.0), (2.0, 2.0)]
        );
    }

    #[test]
    fn every_difference_has_its_interval() {
        let rows = [(1, 0.3, [0.1, 0.5]), (2, -0.2, [-0.4, 0.0])];
        let svg = intervals(&rows, "bits per byte").unwrap();
        assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
        assert!(
            svg.contains("#457BD6") && svg.contains("#E78A3B") && svg.contains("bits per byte")
        );
        assert_eq!(intervals(&[], "x"), None);
    }
}
