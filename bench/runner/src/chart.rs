//! Charts as SVG, drawn on a paper of their own so that they read well on light and on dark pages.

use std::fmt::Write;

use crate::page::short;

/// Whose a bar or a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// The yardstick's.
    Limit,
    /// Ours, the first and the second.
    Ours(usize),
    /// Somebody else's.
    Peer(usize),
}

/// Horizontal bars under a title.
#[derive(Debug)]
pub(crate) struct Bars {
    /// What they show.
    pub(crate) title: String,
    /// From above.
    pub(crate) bars: Vec<Bar>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Bar {
    /// Before it.
    pub(crate) name: String,
    /// Its length; none if there is nothing to show.
    pub(crate) value: Option<f64>,
    /// At its end.
    pub(crate) label: String,
    /// Whose it is.
    pub(crate) tone: Tone,
}

/// Lines over a logarithmic axis.
#[derive(Debug)]
pub(crate) struct Plot {
    /// What they show.
    pub(crate) title: String,
    /// What is below.
    pub(crate) below: String,
    /// Whether the axis at the left is logarithmic, too; otherwise it begins at 0.
    pub(crate) logarithmic: bool,
    /// The lines.
    pub(crate) lines: Vec<Line>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Line {
    /// At its end.
    pub(crate) name: String,
    /// From left to right.
    pub(crate) points: Vec<(f64, f64)>,
    /// Whose it is.
    pub(crate) tone: Tone,
}

/// Colours: for light pages, and for dark ones where those differ.
const STYLE: &str = "\
text { font: 12px system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 } .head { font-weight: 600 } .soft { fill: #59636e } .own { font-weight: 600 }
.at-line { paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
.paper { fill: #ffffff; stroke: #d1d9e0 } .rule { stroke: #d1d9e0; stroke-width: 1 }
.limit { fill: #d1d9e0 } .ours { fill: #0969da } .peer { fill: #9aa5b1 }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
.line-limit { stroke: #818b98; stroke-dasharray: 5 4 } .line-ours-0 { stroke: #0969da; stroke-width: 3 }
.line-ours-1 { stroke: #0a9396; stroke-width: 3 } .line-peer-0 { stroke: #d97706 } .line-peer-1 { stroke: #8250df }
.line-peer-2 { stroke: #1a9e4b } .line-peer-3 { stroke: #cf3f8e } .line-peer-4 { stroke: #a0522d }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .soft { fill: #9198a1 } .at-line { stroke: #0d1117 } .paper { fill: #0d1117; stroke: #3d444d } .rule { stroke: #2a313c }
.limit { fill: #353d48 } .ours { fill: #4493f8 } .peer { fill: #656f7b }
.line-ours-0 { stroke: #4493f8 } .line-ours-1 { stroke: #2fc4b8 } .line-peer-1 { stroke: #a371f7 } .line-peer-4 { stroke: #d08a5c }
}";

const WIDTH: f64 = 860.0;
const MARGIN: f64 = 20.0;
/// Title and what it says further.
const TOP: f64 = 66.0;

/// Panels of bars, three in a row.
pub(crate) fn bars(title: &str, further: &str, panels: &[Bars]) -> String {
    const COLUMNS: usize = 3;
    const ROW: f64 = 19.0;
    const NAMES: f64 = 114.0;
    const LABELS: f64 = 46.0;
    let panel_width = (WIDTH - 2.0 * MARGIN) / COLUMNS as f64;
    let rows_max = panels.iter().map(|panel| panel.bars.len()).max().unwrap_or(0) as f64;
    let panel_height = 44.0 + ROW * rows_max;
    let mut drawing = Drawing::default();
    for (index, panel) in panels.iter().enumerate() {
        let left = MARGIN + panel_width * (index % COLUMNS) as f64;
        let mut y = TOP + panel_height * (index / COLUMNS) as f64;
        drawing.text(left, y + 16.0, "head", "start", &panel.title);
        y += 26.0;
        let longest = panel.bars.iter().filter_map(|bar| bar.value).fold(0.0, f64::max);
        for bar in &panel.bars {
            let ours = matches!(bar.tone, Tone::Ours(_));
            let (class, own) = match bar.tone {
                Tone::Limit => ("limit", "soft"),
                Tone::Ours(_) => ("ours", "own"),
                Tone::Peer(_) => ("peer", "soft"),
            };
            let room = panel_width - NAMES - LABELS - 14.0;
            let length = bar.value.map_or(0.0, |value| room * value / longest.max(f64::MIN_POSITIVE));
            drawing.text(left + NAMES - 8.0, y + 13.0, if ours { "own" } else { "" }, "end", &bar.name);
            drawing.rect(left + NAMES, y + 3.0, length, ROW - 6.0, class);
            drawing.text(left + NAMES + length + 5.0, y + 13.0, own, "start", &bar.label);
            y += ROW;
        }
    }
    let panel_rows = panels.len().div_ceil(COLUMNS) as f64;
    drawing.finish(title, further, TOP + panel_height * panel_rows)
}

/// Plots side by side.
pub(crate) fn plots(title: &str, further: &str, plots: &[Plot]) -> String {
    const HEIGHT: f64 = 300.0;
    let mut drawing = Drawing::default();
    let plot_width = (WIDTH - 2.0 * MARGIN) / plots.len().max(1) as f64;
    for (index, plot) in plots.iter().enumerate() {
        drawing.plot(plot, MARGIN + plot_width * index as f64, TOP, plot_width, HEIGHT);
    }
    drawing.finish(title, further, TOP + HEIGHT)
}

#[derive(Default)]
struct Drawing(String);

impl Drawing {
    fn finish(self, title: &str, further: &str, bottom: f64) -> String {
        let height = bottom + 14.0;
        let mut whole = Self::default();
        let _ = write!(
            whole.0,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
             height=\"{height:.0}\" role=\"img\">\n<title>{}</title>\n<style>\n{STYLE}\n</style>\n",
            escape(title)
        );
        let _ = writeln!(
            whole.0,
            "<rect class=\"paper\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{:.0}\" rx=\"8\"/>",
            WIDTH - 1.0,
            height - 1.0
        );
        whole.text(MARGIN, 30.0, "title", "start", title);
        whole.text(MARGIN, 49.0, "soft", "start", further);
        whole.0 + &self.0 + "</svg>\n"
    }

    fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" class=\"{class}\"/>"
        );
    }

    fn rule(&mut self, from: (f64, f64), to: (f64, f64)) {
        let _ = writeln!(
            self.0,
            "<line class=\"rule\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    fn plot(&mut self, plot: &Plot, x: f64, y: f64, width: f64, height: f64) {
        let points = || plot.lines.iter().flat_map(|line| &line.points);
        let across = Axis::logarithmic(points().map(|point| point.0)).cut(points().map(|point| point.0));
        let up = points().map(|point| point.1);
        let up = if plot.logarithmic { Axis::logarithmic(up) } else { Axis::from_zero(up) };
        // Names stand at the ends of the lines.
        let names = plot.lines.iter().map(|line| line.name.len()).max().unwrap_or(0) as f64 * 6.4 + 14.0;
        let (left, right) = (x + 36.0, x + width - names);
        let (top, bottom) = (y + 30.0, y + height - 40.0);
        let place = |point: &(f64, f64)| {
            (left + (right - left) * across.share(point.0), bottom - (bottom - top) * up.share(point.1))
        };

        self.text(x, y + 16.0, "head", "start", &plot.title);
        self.text(f64::midpoint(left, right), bottom + 34.0, "soft", "middle", &plot.below);
        for tick in &up.ticks {
            let at = bottom - (bottom - top) * up.share(*tick);
            self.rule((left, at), (right, at));
            self.text(left - 6.0, at + 4.0, "soft", "end", &short(*tick));
        }
        for tick in &across.ticks {
            let at = left + (right - left) * across.share(*tick);
            self.rule((at, bottom), (at, bottom + 4.0));
            self.text(at, bottom + 17.0, "soft", "middle", &short(*tick));
        }
        let mut labels = Vec::new();
        for line in plot.lines.iter().filter(|line| !line.points.is_empty()) {
            let class = match line.tone {
                Tone::Limit => "line-limit".into(),
                Tone::Ours(index) => format!("line-ours-{index}"),
                Tone::Peer(index) => format!("line-peer-{index}"),
            };
            let places: Vec<_> = line.points.iter().map(place).collect();
            let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(self.0, "<polyline class=\"{class}\" points=\"{}\"/>", path.join(" "));
            let (end_x, end_y) = places[places.len() - 1];
            let own = if matches!(line.tone, Tone::Ours(_)) { "own at-line" } else { "soft at-line" };
            labels.push((end_x + 6.0, end_y + 4.0, own, &line.name));
        }
        labels.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
        let (mut column, mut free_from) = (f64::MIN, f64::MIN);
        for (x, y, class, name) in labels {
            // Lines may end early; names are in each other's way where they end at the same place.
            let y = if x > column { y } else { y.max(free_from) };
            self.text(x, y, class, "start", name);
            (column, free_from) = (x, y + 14.0);
        }
    }
}

/// What lies where along a side.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    ticks: Vec<f64>,
}

impl Axis {
    /// Whole powers of ten.
    fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let last = last.max(first + 1);
        let ticks = (first..=last).map(|power| 10f64.powi(power)).collect();
        Self { low: 10f64.powi(first), high: 10f64.powi(last), logarithmic: true, ticks }
    }

    /// Only as far as there are values.
    fn cut(mut self, values: impl Iterator<Item = f64> + Clone) -> Self {
        let (low, high) = (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max));
        if low < high {
            (self.low, self.high) = (self.low.max(low), self.high.min(high));
            self.ticks.retain(|tick| (self.low..=self.high).contains(tick));
        }
        self
    }

    /// A few round steps.
    fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let highest = values.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let power = 10f64.powf(highest.log10().floor());
        let step =
            [0.2, 0.5, 1.0, 2.0].map(|part| part * power).into_iter().find(|step| highest / step <= 6.0);
        let step = step.unwrap_or(2.0 * power);
        let steps = (highest / step).ceil();
        let ticks = (0..=steps as usize).map(|index| index as f64 * step).collect();
        Self { low: 0.0, high: steps * step, logarithmic: false, ticks }
    }

    fn share(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_all_values_between_round_ends() {
        let axis = Axis::from_zero([3.0, 11.7].into_iter());
        assert_eq!((axis.low, axis.high), (0.0, 12.0));
        assert_eq!(axis.share(6.0), 0.5);
        let axis = Axis::logarithmic([0.3, 250.0].into_iter());
        assert_eq!(axis.ticks, [0.1, 1.0, 10.0, 100.0, 1000.0]);
        assert!((axis.share(10.0) - 0.5).abs() < 1e-9);
        let axis = axis.cut([0.3, 250.0].into_iter());
        assert_eq!((axis.low, axis.high, axis.ticks), (0.3, 250.0, vec![1.0, 10.0, 100.0]));
    }

    #[test]
    fn nothing_measured_is_an_empty_chart() {
        let lines = vec![Line { name: "a<b".into(), points: Vec::new(), tone: Tone::Peer(0) }];
        let plot = Plot { title: "a<b".into(), below: String::new(), logarithmic: true, lines };
        let chart = plots("title", "", &[plot]);
        assert!(chart.contains("a&lt;b") && !chart.contains("NaN"), "{chart}");
    }
}
