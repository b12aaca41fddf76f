//! One plot: lines over an axis, drawn as SVG with its legend in HTML above.

use std::fmt::Write as _;

use super::{
    COLOURS,
    axis::{Axis, Kind},
    escape,
};

/// Size of a drawing in its own units; the page scales it.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 280.0;
/// Room around the lines: for words of the y axis (more when they need it), of the x axis, and of
/// the bands.
const LEFT_MIN: f64 = 56.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 26.0;
/// Width of a letter, about: words that would not fit are left out.
const LETTER: f64 = 6.6;
/// Points a line has at most: more would not be told apart.
pub(super) const POINTS_MAX: usize = 240;

/// A plot.
pub(super) struct Chart {
    /// What is seen.
    pub(super) title: String,
    /// What a reader must know to read it; may be empty.
    pub(super) note: String,
    pub(super) x: Kind,
    pub(super) y: Kind,
    /// Parts of the x axis with a name of their own.
    pub(super) bands: Vec<Band>,
    pub(super) lines: Vec<Line>,
}

/// A part of the x axis.
#[derive(Clone, Debug)]
pub(super) struct Band {
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) to: f64,
}

/// A line.
pub(super) struct Line {
    pub(super) name: String,
    /// Which of the page's colours: the same thing has the same in every plot.
    pub(super) colour: usize,
    pub(super) stroke: Stroke,
    /// In the order of x. A y that is not finite, or not on the axis, is a hole in the line.
    pub(super) points: Vec<(f64, f64)>,
}

/// How a line is drawn, so that lines are told apart without colour as well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stroke {
    Solid,
    Dashed,
}

impl Stroke {
    const fn class(self) -> &'static str {
        match self {
            Self::Solid => "",
            Self::Dashed => " dashed",
        }
    }
}

impl Chart {
    pub(super) fn draw(&self, page: &mut String) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let of_bands = self.bands.iter().flat_map(|band| [band.from, band.to]);
        let x = Axis::over(self.x, points().map(|point| point.0).chain(of_bands));
        let y = Axis::over(self.y, points().map(|point| point.1));
        let widths = y.ticks.iter().map(|(_, words)| words_width(words) + 12.0);
        let left = widths.fold(LEFT_MIN, f64::max);
        let field = Field { x, y, left };
        let title = escape(&self.title);
        let _ = writeln!(page, "<figure>\n<figcaption>{title}</figcaption>");
        self.legend(page);
        let _ = writeln!(
            page,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
        );
        self.draw_bands(page, &field);
        field.draw_ticks(page);
        for line in &self.lines {
            line.draw(page, &field);
        }
        page.push_str("</svg>\n");
        if !self.note.is_empty() {
            let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(&self.note));
        }
        page.push_str("</figure>\n");
    }

    fn legend(&self, page: &mut String) {
        page.push_str("<ul class=\"legend\">");
        for line in &self.lines {
            let _ = write!(
                page,
                "<li><svg viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path class=\"line c{}{}\" \
                 d=\"M1 4H25\"/></svg>{}</li>",
                line.colour % COLOURS,
                line.stroke.class(),
                escape(&line.name)
            );
        }
        page.push_str("</ul>\n");
    }

    fn draw_bands(&self, page: &mut String, field: &Field) {
        // Neighbours are told apart by their shade, a band with room before it from that room.
        let mut shaded = false;
        let mut before = f64::NEG_INFINITY;
        for band in &self.bands {
            shaded = !shaded || band.from > before;
            before = band.to;
            let (Some(left), Some(right)) = (field.across(band.from), field.across(band.to)) else {
                continue;
            };
            let width = right - left;
            let shade = if shaded { " shaded" } else { "" };
            let name = escape(&band.name);
            let _ = write!(
                page,
                "<rect class=\"band{shade}\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{width:.1}\" \
                 height=\"{:.1}\"><title>{name}</title></rect>",
                HEIGHT - TOP - BOTTOM
            );
            if words_width(&band.name) <= width {
                let middle = left + width / 2.0;
                let _ = write!(
                    page,
                    "<text class=\"middle\" x=\"{middle:.1}\" y=\"14\">{name}</text>"
                );
            }
        }
        if !self.bands.is_empty() {
            page.push('\n');
        }
    }
}

impl Line {
    fn draw(&self, page: &mut String, field: &Field) {
        let mut path = String::new();
        let mut dots = String::new();
        let mut joined = false;
        for (at, value) in &self.points {
            let (Some(left), Some(top)) = (field.across(*at), field.down(*value)) else {
                joined = false;
                continue;
            };
            let step = if joined { 'L' } else { 'M' };
            joined = true;
            let _ = write!(path, "{step}{left:.1} {top:.1}");
            let words = format!(
                "{}, {}: {}",
                self.name,
                field.x.words(*at),
                field.y.words(*value)
            );
            let _ = write!(
                dots,
                "<circle cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"5\"><title>{}</title></circle>",
                escape(&words)
            );
        }
        let colour = self.colour % COLOURS;
        let _ = writeln!(
            page,
            "<path class=\"line c{colour}{}\" d=\"{path}\"/>\n<g class=\"dots c{colour}\">{dots}</g>",
            self.stroke.class()
        );
    }
}

/// Where the lines are.
struct Field {
    x: Axis,
    y: Axis,
    left: f64,
}

impl Field {
    fn across(&self, x: f64) -> Option<f64> {
        let share = self.x.place(x)?;
        Some(self.left + share * (WIDTH - self.left - RIGHT))
    }

    fn down(&self, y: f64) -> Option<f64> {
        let share = self.y.place(y)?;
        Some(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM))
    }

    /// Lines of the ticks and their words; of the x axis only where the words before leave room.
    fn draw_ticks(&self, page: &mut String) {
        for (at, words) in &self.y.ticks {
            let Some(top) = self.down(*at) else { continue };
            let weight = if words.is_empty() {
                "tick faint"
            } else {
                "tick"
            };
            let _ = write!(
                page,
                "<path class=\"{weight}\" d=\"M{:.1} {top:.1}H{:.1}\"/>\
                 <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                self.left,
                WIDTH - RIGHT,
                self.left - 8.0,
                top + 4.0,
                escape(words)
            );
        }
        let bottom = HEIGHT - BOTTOM;
        let mut free_from = f64::MIN;
        for (at, words) in &self.x.ticks {
            let Some(left) = self.across(*at) else {
                continue;
            };
            let half = words_width(words) / 2.0;
            let _ = write!(
                page,
                "<path class=\"tick faint\" d=\"M{left:.1} {TOP}V{bottom}\"/>"
            );
            // Words at the very end end with the drawing.
            let middle = left.min(WIDTH - half);
            if middle - half >= free_from {
                free_from = middle + half + LETTER;
                let _ = write!(
                    page,
                    "<text class=\"middle\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
                    bottom + 18.0,
                    escape(words)
                );
            }
        }
        page.push('\n');
    }
}

fn words_width(words: &str) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "letters of a label")]
    let letters = words.chars().count() as f64;
    letters * LETTER
}
