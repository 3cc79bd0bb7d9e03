//! What a row says of its document besides the text, as far as finding duplicates asks: its address, its date, its quality.

use serde_json::Value;

use super::options::RenderOptions;
use crate::dedup::url::url_key;
use crate::read::Row;

/// The fields that hold facts: top-level ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactFields {
    /// The address.
    pub url: Option<String>,
    /// The date.
    pub date: Option<String>,
    /// The quality.
    pub quality: Option<String>,
}

/// Facts of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Hash of the normalized address.
    pub url: Option<u128>,
    /// Seconds since 1970, shifted so that later is larger; 0 where there is no date.
    pub date: u64,
    /// A number whose order is that of the qualities; 0 where there is none.
    pub quality: u64,
}

impl FactFields {
    pub(super) fn new(options: &RenderOptions) -> Self {
        Self {
            url: options.url.clone(),
            date: options.date.clone(),
            quality: options.quality.clone(),
        }
    }

    /// The names of the fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        [&self.url, &self.date, &self.quality].into_iter().flatten()
    }

    /// What a row says. A field that is not there, or says something else, says nothing.
    pub(super) fn of(&self, row: &Row) -> Facts {
        let value = |field: &Option<String>| field.as_ref().and_then(|name| row.get(name));
        Facts {
            url: value(&self.url).and_then(Value::as_str).and_then(url_key),
            date: value(&self.date).and_then(date).unwrap_or(0),
            quality: value(&self.quality)
                .and_then(Value::as_f64)
                .map_or(0, ordered),
        }
    }
}

/// The order of the bits is the order of the numbers.
fn ordered(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    }
}

/// Seconds since 1970, fractions cut off: a number of seconds, or of milliseconds where it is too large for that, or text
/// that begins with an RFC 3339 date, with or without a time and an offset.
fn date(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Number(number) => {
            let number = number.as_f64()?;
            // Seconds of this size lie more than three thousand years ahead.
            let seconds = if number.abs() >= 1e11 {
                number / 1e3
            } else {
                number
            };
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a fraction of a second decides nothing, and the cast saturates"
            )]
            let whole = seconds.floor() as i64;
            whole
        }
        Value::String(text) => written_date(text.trim())?,
        _ => return None,
    };
    Some(seconds.cast_unsigned() ^ 1 << 63)
}

fn written_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, digits: usize| -> Option<i64> {
        let part = text.get(from..from + digits)?;
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse().ok())
            .flatten()
    };
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|b| any.contains(b));
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    if !is(4, b"-") || !is(7, b"-") || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut seconds = days_from_civil(year, month, day) * 86_400;
    if !is(10, b"Tt ") {
        return Some(seconds);
    }
    let Some((hour, minute)) = number(11, 2).zip(number(14, 2)) else {
        return Some(seconds);
    };
    seconds += hour * 3_600 + minute * 60;
    let mut at = 16;
    if let (true, Some(second)) = (is(16, b":"), number(17, 2)) {
        seconds += second;
        at = 19;
        if is(at, b".") {
            at += 1;
            at += bytes[at..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
        }
    }
    if is(at, b"+-")
        && let Some(hours) = number(at + 1, 2)
    {
        let minutes = number(at + if is(at + 3, b":") { 4 } else { 3 }, 2).unwrap_or(0);
        let offset = hours * 3_600 + minutes * 60;
        seconds += if is(at, b"+") { -offset } else { offset };
    }
    Some(seconds)
}

/// Days from 1970-01-01, by the proleptic Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seconds(value: &Value) -> Option<i64> {
        date(value).map(|date| (date ^ 1 << 63).cast_signed())
    }

    #[test]
    fn dates_are_read_as_date_prints_them() {
        // The numbers are those of `date -u -d ... +%s`.
        for (text, expected) in [
            ("1970-01-01", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2023-11-14T22:13:20+00:00", 1_700_000_000),
            ("2023-11-14 22:13:20", 1_700_000_000),
            ("2023-11-15T00:13:20.123456+02:00", 1_700_000_000),
            ("2023-11-14T17:43:20-0430", 1_700_000_000),
            ("1969-12-31T23:59:59Z", -1),
            ("2023-11-14T22:13", 1_699_999_980),
        ] {
            assert_eq!(seconds(&json!(text)), Some(expected), "{text}");
        }
        assert_eq!(seconds(&json!(1_700_000_000)), Some(1_700_000_000));
        assert_eq!(seconds(&json!(1_700_000_000_500_i64)), Some(1_700_000_000));
        for nothing in [
            json!("yesterday"),
            json!("2023-13-01"),
            json!(null),
            json!("20-1-1"),
        ] {
            assert_eq!(seconds(&nothing), None, "{nothing}");
        }
    }

    #[test]
    fn qualities_keep_their_order() {
        let numbers = [-1e300, -2.5, -0.5, 0.0, 1e-9, 0.5, 3.0, 1e300];
        assert!(numbers.map(ordered).is_sorted());
        assert!(ordered(-1e300) > 0);
    }

    #[test]
    fn a_row_says_what_it_says() {
        let fields = FactFields {
            url: Some("u".to_owned()),
            date: Some("d".to_owned()),
            quality: None,
        };
        let Value::Object(row) = json!({"u": "http://a.example/x", "d": 0, "q": 2}) else {
            unreachable!()
        };
        let facts = fields.of(&row);
        assert!(facts.url.is_some());
        assert_eq!((facts.date, facts.quality), (1 << 63, 0));
        assert_eq!(fields.of(&Row::new()), Facts::default());
    }
}
