//! Markdown, and figures as people read them.

use std::fmt::Display;

/// A table whose first column has names and whose others have figures.
#[derive(Debug)]
pub(crate) struct Table(String);

impl Table {
    /// With these column heads.
    pub(crate) fn new<'a>(heads: impl IntoIterator<Item = &'a str>) -> Self {
        let heads: Vec<_> = heads.into_iter().collect();
        let rule = "--:|".repeat(heads.len().saturating_sub(1));
        Self(format!("| {} |\n|---|{rule}\n", heads.join(" | ")))
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, name: &str, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().collect();
        self.0 += &format!("| {name} | {} |\n", cells.join(" | "));
    }

    /// The whole.
    pub(crate) fn finish(self) -> String {
        self.0 + "\n"
    }
}

/// What is shown where there is nothing.
pub(crate) const NOTHING: &str = "–";

/// The figure, if there is one.
pub(crate) fn cell<T: Display>(figure: Option<T>) -> String {
    figure.map_or_else(|| NOTHING.into(), |figure| figure.to_string())
}

/// With commas between thousands.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let from_right = digits.chars().rev().enumerate();
    let mut grouped = Vec::new();
    for (place, digit) in from_right {
        if place > 0 && place % 3 == 0 && digit != '-' {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped.into_iter().rev().collect()
}

/// In three digits, such as `0.52`, `5.31`, `53.1`, `531`.
pub(crate) fn three_digits(number: f64) -> String {
    match number.abs() {
        tiny if tiny < 9.995 => format!("{number:.2}"),
        small if small < 99.95 => format!("{number:.1}"),
        _ => grouped(number),
    }
}

/// As short as an axis needs it: `1,500`, `20k`, `3M`.
pub(crate) fn short(number: f64) -> String {
    match number {
        millions if millions >= 1e6 => format!("{}M", three_short(millions / 1e6)),
        thousands if thousands >= 1e4 => format!("{}k", three_short(thousands / 1e3)),
        _ if number < 10.0 && number.fract() != 0.0 => format!("{number:.1}"),
        _ => grouped(number),
    }
}

fn three_short(number: f64) -> String {
    let text = three_digits(number);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_exact_enough() {
        assert_eq!([0.0, 999.0, 1000.0, 1234567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.5, 9.999, 53.14, 531.4, 5314.0].map(three_digits),
            ["0.50", "10.0", "53.1", "531", "5,314"]
        );
        assert_eq!([1.0, 1500.0, 20_000.0, 183_450.0, 3e6].map(short), ["1", "1,500", "20k", "183k", "3M"]);
    }

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new(["server", "req/s"]);
        table.row("hyper", [cell(Some(5)), cell(None::<u8>)]);
        assert_eq!(table.finish(), "| server | req/s |\n|---|--:|\n| hyper | 5 | – |\n\n");
    }
}
