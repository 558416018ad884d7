//! Axes, lines and labels as SVG. A plot is 560 units wide; the style sheet enlarges its text on narrow screens.

use std::fmt::Write as _;

use super::html::escape;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 92.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 50.0;
/// Least distance between two labels at the lines' ends.
const LABEL_STEP: f64 = 19.0;

/// How values become positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    Linear { from: f64, to: f64 },
    Log { from: f64, to: f64 },
}

impl Scale {
    /// Linear from zero to a round number that holds `max`.
    pub(super) fn from_zero(max: f64) -> Self {
        let step = linear_step(max);
        Self::Linear { from: 0.0, to: ((max / step).ceil() * step).max(step) }
    }

    /// Logarithmic over round numbers (1, 2, 5 times a power of ten) that hold all positive values; zero is drawn at the foot.
    pub(super) fn log(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|v| v.is_finite() && *v > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            return Self::Log { from: 1.0, to: 10.0 };
        }
        let (from, to) = (round_down(low), round_up(high));
        Self::Log { from, to: if to > from { to } else { round_up(from * 1.5) } }
    }

    /// Where a value lies, 0 to 1; values outside are held at the edge.
    fn at(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Log { from, to } => (value.max(from) / from).ln() / (to / from).ln(),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Round values to mark.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { from, to } => {
                let step = linear_step(to - from);
                (0..=((to - from) / step + 1e-9) as u32).map(|n| from + f64::from(n) * step).collect()
            }
            Self::Log { from, to } => {
                let decades = (to / from).log10();
                let multiples: &[f64] = if decades <= 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let first = from.log10().floor() as i32;
                let last = to.log10().ceil() as i32;
                (first..=last)
                    .flat_map(|power| multiples.iter().map(move |m| m * 10_f64.powi(power)))
                    .filter(|v| *v >= from * 0.999 && *v <= to * 1.001)
                    .collect()
            }
        }
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides the range into three to seven.
fn linear_step(range: f64) -> f64 {
    if !(range.is_finite() && range > 0.0) {
        return 1.0;
    }
    let rough = range / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| rough <= m * power * 1.000_001).unwrap_or(10.0);
    step * power
}

fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|m| m * power).find(|v| *v <= value * 1.000_001).unwrap_or(power)
}

fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|v| *v >= value * 0.999_999).unwrap_or(power * 10.0)
}

/// A plot under construction.
pub(super) struct Plot {
    id: &'static str,
    x: Scale,
    y: Scale,
    marks: String,
    labels: Vec<(f64, String, &'static str)>,
}

impl Plot {
    /// A plot whose parts are named after `id`.
    pub(super) const fn new(id: &'static str, x: Scale, y: Scale) -> Self {
        Self { id, x, y, marks: String::new(), labels: Vec::new() }
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + self.x.at(x) * (WIDTH - LEFT - RIGHT)
    }

    fn py(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.at(y) * (HEIGHT - TOP - BOTTOM)
    }

    /// Marks on the horizontal axis with a title below. Every second label gives way on a narrow screen.
    pub(super) fn x_axis(&mut self, title: &str, ticks: &[(f64, String)]) {
        let foot = HEIGHT - BOTTOM;
        for (n, (value, label)) in ticks.iter().enumerate() {
            let (x, class) = (self.px(*value), if n % 2 == 1 { " alt" } else { "" });
            let _ = write!(
                self.marks,
                "<path class=\"tick\" d=\"M{x:.1} {foot}v5\"/><text class=\"x{class}\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                foot + 19.0,
                escape(label)
            );
        }
        let _ = write!(
            self.marks,
            "<text class=\"x axis\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT + (WIDTH - LEFT - RIGHT) / 2.0,
            HEIGHT - 6.0,
            escape(title)
        );
    }

    /// Grid lines and labels of the vertical axis.
    pub(super) fn y_axis(&mut self, label: impl Fn(f64) -> String) {
        let ticks = self.y.ticks();
        for (n, value) in ticks.iter().enumerate() {
            let (y, class) = (self.py(*value), if n % 2 == 1 { " alt" } else { "" });
            let _ = write!(
                self.marks,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/><text class=\"y{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
                escape(&label(*value))
            );
        }
    }

    /// A line through `points`, broken where there is none, named at its end.
    pub(super) fn line(&mut self, class: &'static str, name: &str, points: &[Option<(f64, f64)>]) {
        let mut path = String::new();
        let mut dots = String::new();
        for run in points.split(Option::is_none) {
            let run: Vec<_> = run.iter().flatten().map(|(x, y)| (self.px(*x), self.py(*y))).collect();
            match run.as_slice() {
                [] => {}
                [(x, y)] => {
                    let _ = write!(dots, "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
                }
                [first, rest @ ..] => {
                    let _ = write!(path, "M{:.1} {:.1}L", first.0, first.1);
                    rest.iter().for_each(|(x, y)| {
                        let _ = write!(path, "{x:.1} {y:.1} ");
                    });
                }
            }
        }
        if !path.is_empty() {
            let _ = write!(self.marks, "<path class=\"line {class}\" d=\"{}\"/>", path.trim_end());
        }
        self.marks.push_str(&dots);
        if let Some((_, y)) = points.iter().flatten().next_back() {
            let y = self.py(*y);
            self.labels.push((y, name.to_owned(), class));
        }
    }

    /// Bars from the foot, each from `x0` to `x1`.
    pub(super) fn bars(&mut self, class: &'static str, bars: impl Iterator<Item = (f64, f64, f64)>) {
        let foot = HEIGHT - BOTTOM;
        for (x0, x1, value) in bars.filter(|(_, _, value)| *value > 0.0) {
            let (left, right, top) = (self.px(x0), self.px(x1), self.py(value));
            let _ = write!(
                self.marks,
                "<path class=\"bar {class}\" d=\"M{left:.1} {foot}V{top:.1}H{:.1}V{foot}z\"/>",
                (right - 0.5).max(left + 0.5)
            );
        }
    }

    /// Shades the whole height from `x0` to `x1`, behind what is drawn later.
    pub(super) fn shade(&mut self, x0: f64, x1: f64) {
        let (left, right, foot) = (self.px(x0), self.px(x1), HEIGHT - BOTTOM);
        if right > left {
            let _ = write!(self.marks, "<path class=\"shade\" d=\"M{left:.1} {foot}V{TOP}H{right:.1}V{foot}z\"/>");
        }
    }

    /// A name beside the plot at the height of `y`.
    pub(super) fn label(&mut self, class: &'static str, name: &str, y: f64) {
        let y = self.py(y);
        self.labels.push((y, name.to_owned(), class));
    }

    /// The SVG. `finding` is its title, `description` says what is drawn.
    pub(super) fn finish(mut self, finding: &str, description: &str) -> String {
        let names = self.names();
        svg(self.id, (WIDTH, HEIGHT), finding, description, &format!("{}{names}", self.marks))
    }

    /// The labels at the lines' ends, pushed apart so that none covers another.
    fn names(&mut self) -> String {
        self.labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut free = TOP;
        for label in &mut self.labels {
            label.0 = label.0.max(free);
            free = label.0 + LABEL_STEP;
        }
        let mut ceiling = HEIGHT - BOTTOM + 2.0;
        for label in self.labels.iter_mut().rev() {
            label.0 = label.0.min(ceiling);
            ceiling = label.0 - LABEL_STEP;
        }
        let mut out = String::new();
        for (y, name, class) in &self.labels {
            let _ = write!(
                out,
                "<text class=\"end {class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT + 8.0,
                y + 4.0,
                escape(name)
            );
        }
        out
    }
}

/// An SVG image with a title that states the finding and a description that says what is drawn.
pub(super) fn svg(id: &str, (width, height): (f64, f64), finding: &str, description: &str, body: &str) -> String {
    format!(
        "<svg role=\"img\" aria-labelledby=\"{id}-t {id}-d\" viewBox=\"0 0 {width} {height}\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{body}</svg>\n",
        escape(finding),
        escape(description)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn linear_ticks_are_round_and_hold_the_maximum() {
        let scale = Scale::from_zero(520.0);
        assert_eq!(scale, Scale::Linear { from: 0.0, to: 600.0 });
        assert_eq!(scale.ticks(), [0.0, 200.0, 400.0, 600.0]);
        assert_eq!(Scale::from_zero(0.0).ticks().len(), 2 + 4, "0 to 1 in fifths");
        assert_eq!(Scale::from_zero(f64::NAN), Scale::Linear { from: 0.0, to: 1.0 });
    }

    #[test]
    fn log_ticks_are_decades_or_one_two_five_when_there_are_few() {
        assert_eq!(Scale::log([3.0, 4_200.0].into_iter()), Scale::Log { from: 2.0, to: 5_000.0 });
        assert_eq!(Scale::log([3.0, 4_200.0].into_iter()).ticks(), [10.0, 100.0, 1_000.0]);
        assert_eq!(Scale::log([12.0, 70.0].into_iter()).ticks(), [10.0, 20.0, 50.0, 100.0]);
        assert_eq!(Scale::log([0.0, f64::NAN].into_iter()), Scale::Log { from: 1.0, to: 10.0 });
    }

    #[test]
    fn up_is_slower_and_left_is_earlier() {
        let plot = Plot::new("p", Scale::from_zero(60.0), Scale::log([1.0, 1_000.0].into_iter()));
        assert!(plot.py(1_000.0) < plot.py(10.0) && plot.py(10.0) < plot.py(1.0));
        assert!(plot.px(0.0) < plot.px(30.0));
        let middle = f64::midpoint(plot.py(1.0), plot.py(100.0));
        assert!((plot.py(10.0) - middle).abs() < 1e-9, "equal factors are equal distances");
        assert_eq!(plot.py(0.0), plot.py(1.0), "zero stands at the foot");
    }

    #[test]
    fn a_line_breaks_where_there_is_no_value_and_a_lone_value_is_a_dot() {
        let mut plot = Plot::new("p", Scale::from_zero(5.0), Scale::from_zero(5.0));
        plot.line("s1", "name", &[Some((0.0, 1.0)), Some((1.0, 1.0)), None, Some((3.0, 1.0)), None]);
        assert_eq!(plot.marks.matches('M').count(), 1);
        assert_eq!(plot.marks.matches("<circle").count(), 1);
    }

    #[test]
    fn labels_never_cover_each_other() {
        let mut plot = Plot::new("p", Scale::from_zero(1.0), Scale::from_zero(1.0));
        for _ in 0..5 {
            plot.line("s1", "same place", &[Some((1.0, 0.0))]);
        }
        plot.names();
        for pair in plot.labels.windows(2) {
            assert!(pair[1].0 - pair[0].0 >= LABEL_STEP - 1e-9);
        }
        assert!(plot.labels.iter().all(|l| l.0 >= TOP && l.0 <= HEIGHT - BOTTOM + 2.0));
    }

    proptest! {
        #[test]
        fn every_positive_range_has_ticks_inside_it(low in 1e-3_f64..1e9, factor in 1.0_f64..1e9) {
            let scale = Scale::log([low, low * factor].into_iter());
            let Scale::Log { from, to } = scale else { unreachable!() };
            prop_assert!(from <= low * 1.000_01 && to >= low * factor * 0.999_99);
            prop_assert!(!scale.ticks().is_empty());
            prop_assert!(scale.ticks().len() <= 25);
            prop_assert!(scale.at(low) < scale.at(low * factor) || factor < 1.000_01);
        }
    }
}
