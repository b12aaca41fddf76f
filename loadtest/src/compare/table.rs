//! A comparison as a table for a terminal.

use std::fmt::Write as _;

use super::{Comparison, Row, Verdict};
use crate::{outcome::Figure, shown::number};

/// Whether a terminal is told colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// ANSI codes: red is past its bound, green better, dim not judged.
    Ansi,
    /// None: a file, a pipe, or not wished.
    Plain,
}

impl Comparison {
    /// Notes, the table, and the verdict with the name of each figure past its bound.
    #[must_use]
    pub fn render(&self, colour: Colour) -> String {
        let mut text = String::new();
        for note in &self.notes {
            line(&mut text, &format!("note: {note}"));
        }
        let name = |row: &Row| row.name.chars().count();
        let width = self.rows.iter().map(name).max().unwrap_or_default() + 2;
        let spreads = [Row::before_spread, Row::after_spread].map(|spread| {
            let widths = self.rows.iter().map(|row| spread(row).chars().count());
            widths
                .max()
                .filter(|width| *width > 0)
                .map_or(0, |width| width + 1)
        });
        let mut side = "";
        for row in &self.rows {
            if row.side != side {
                side = &row.side;
                line(&mut text, "");
                let (a, b) = (" ".repeat(spreads[0]), " ".repeat(spreads[1]));
                let head = format!("{side:<width$}{:>14}{a}{:>14}{b}{:>9}", "A", "B", "B/A");
                line(&mut text, head.trim_end());
            }
            let [a, b] = spreads;
            let shown = format!(
                "{:<width$}{:>14}{:>a$}{:>14}{:>b$}{:>9}  {}",
                row.name,
                value(row.before),
                row.before_spread(),
                value(row.after),
                row.after_spread(),
                row.ratio().map_or_else(|| "–".to_owned(), ratio),
                row.verdict.words()
            );
            line(&mut text, &row.verdict.paint(shown.trim_end(), colour));
        }
        line(&mut text, "");
        let mut past = 0;
        for row in self.regressions() {
            past += 1;
            let what = row
                .ratio()
                .map_or_else(String::new, |r| format!(" × {}", ratio(r)));
            let mut words = format!(
                "regression: {} {}: {} → {}{what}, {}",
                row.side,
                row.name,
                value(row.before),
                value(row.after),
                row.verdict.words()
            );
            if row.rounds_overlap() {
                words += ", though their rounds overlap";
            }
            line(&mut text, &row.verdict.paint(&words, colour));
        }
        if past == 0 {
            line(&mut text, "no figure is past its bound");
        }
        text
    }
}

impl Row {
    fn before_spread(&self) -> String {
        spread(self.before)
    }

    fn after_spread(&self) -> String {
        spread(self.after)
    }
}

impl Verdict {
    fn words(self) -> String {
        match self {
            Self::Within => String::new(),
            Self::Improved => "better".to_owned(),
            Self::Past(bound) => format!("WORSE than {} allows", number(bound)),
            Self::NoLongerZero => "WAS 0".to_owned(),
            Self::Gone => "GONE".to_owned(),
            Self::NotJudged => "not judged".to_owned(),
        }
    }

    fn paint(self, words: &str, colour: Colour) -> String {
        let code = match self {
            Self::Past(_) | Self::NoLongerZero | Self::Gone => "31",
            Self::Improved => "32",
            Self::NotJudged => "2",
            Self::Within => return words.to_owned(),
        };
        match colour {
            Colour::Ansi => format!("\x1b[{code}m{words}\x1b[0m"),
            Colour::Plain => words.to_owned(),
        }
    }
}

fn value(figure: Option<Figure>) -> String {
    figure.map_or_else(|| "–".to_owned(), |of| of.shown())
}

fn spread(figure: Option<Figure>) -> String {
    let spread = figure.and_then(|of| of.spread());
    spread.map_or_else(String::new, |spread| format!(" ({spread})"))
}

/// Two decimals: a ratio is read as a percentage.
fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}

fn line(text: &mut String, line: &str) {
    let _ = writeln!(text, "{line}");
}
