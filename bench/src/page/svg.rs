//! Charts, as SVG.

use std::fmt::Write as _;

/// Width of all charts, in their own units.
const WIDTH: f64 = 340.0;
const BAR: f64 = 22.0;
/// Room for names on the left of bars, and for figures on the right.
const NAMES: f64 = 62.0;
const FIGURES: f64 = 64.0;

/// A bar: the name, the colour's number, the length, and the mark of what it is compared with.
pub(super) struct Bar<'a> {
    pub(super) name: &'a str,
    pub(super) colour: usize,
    pub(super) value: f64,
    pub(super) mark: Option<f64>,
    pub(super) label: String,
}

/// Horizontal bars, the longest as long as there is room.
pub(super) fn bars(bars: &[Bar<'_>]) -> String {
    let values = bars
        .iter()
        .flat_map(|bar| [bar.value, bar.mark.unwrap_or_default()]);
    let longest = values.fold(f64::MIN_POSITIVE, f64::max);
    let room = WIDTH - NAMES - FIGURES;
    let height = BAR * bars.len() as f64;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">");
    for (number, bar) in bars.iter().enumerate() {
        let top = BAR * number as f64;
        let (middle, length) = (top + BAR / 2.0 + 4.0, (bar.value / longest * room).max(1.0));
        let _ = write!(
            svg,
            "<text x=\"0\" y=\"{middle}\">{}</text><rect x=\"{NAMES}\" y=\"{}\" width=\"{length:.1}\" \
             height=\"{}\" rx=\"2\" fill=\"var(--c{})\"/>",
            escape(bar.name),
            top + 3.0,
            BAR - 6.0,
            bar.colour,
        );
        if let Some(mark) = bar.mark {
            let x = NAMES + mark / longest * room;
            let _ = write!(
                svg,
                "<line class=\"raw\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\"/>",
                top + 1.0,
                top + BAR - 1.0,
            );
        }
        let _ = write!(
            svg,
            "<text class=\"soft\" x=\"{WIDTH}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
            escape(&bar.label)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A curve: its colour's number, and points with both coordinates above zero.
pub(super) struct Curve {
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, f64)>,
}

/// How a scale divides its axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Logarithmic,
    Linear,
}

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    fn over(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Axis {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::MIN_POSITIVE, f64::max);
        match scale {
            Scale::Linear => Axis {
                scale,
                low: 0.0,
                high,
            },
            Scale::Logarithmic => Axis {
                scale,
                low: 10_f64.powf(low.log10().floor()),
                high: 10_f64.powf((high.log10() + 1e-9).ceil()).max(low * 10.0),
            },
        }
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low).max(f64::MIN_POSITIVE),
            Scale::Logarithmic => {
                (value / self.low).log10() / (self.high / self.low).log10().max(f64::MIN_POSITIVE)
            }
        }
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => vec![self.high / 2.0, self.high],
            Scale::Logarithmic => {
                let (first, last) = (
                    self.low.log10().round() as i32,
                    self.high.log10().round() as i32,
                );
                (first..=last).map(|power| 10_f64.powi(power)).collect()
            }
        }
    }
}

/// Curves over a logarithmic axis, whose ticks `across` and `up` write.
pub(super) fn curves(
    curves: &[Curve],
    scale: Scale,
    across: &dyn Fn(f64) -> String,
    up: &dyn Fn(f64) -> String,
) -> String {
    const HEIGHT: f64 = 190.0;
    const LEFT: f64 = 44.0;
    const BOTTOM: f64 = 22.0;
    let points = curves.iter().flat_map(|curve| curve.points.iter().copied());
    if points.clone().next().is_none() {
        return String::new();
    }
    let xs = Axis::over(Scale::Logarithmic, points.clone().map(|point| point.0));
    let ys = Axis::over(scale, points.map(|point| point.1));
    let x = |value: f64| LEFT + xs.place(value) * (WIDTH - LEFT - 12.0);
    let y = |value: f64| 8.0 + (1.0 - ys.place(value)) * (HEIGHT - BOTTOM - 8.0);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for tick in xs.ticks() {
        let place = x(tick);
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{place:.1}\" x2=\"{place:.1}\" y1=\"8\" y2=\"{}\"/>\
             <text class=\"soft\" x=\"{place:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - 6.0,
            escape(&across(tick)),
        );
    }
    for tick in ys.ticks() {
        let place = y(tick);
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{place:.1}\" y2=\"{place:.1}\"/>\
             <text class=\"soft\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - 12.0,
            LEFT - 6.0,
            place + 4.0,
            escape(&up(tick)),
        );
    }
    for curve in curves {
        let points: Vec<String> = curve
            .points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let _ = write!(
            svg,
            "<polyline class=\"curve\" stroke=\"var(--c{})\" points=\"{}\"/>",
            curve.colour,
            points.join(" ")
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Text that HTML takes as text.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_place_their_ends() {
        let values = [20.0, 3000.0];
        let axis = Axis::over(Scale::Logarithmic, values.into_iter());
        assert_eq!((axis.low, axis.high), (10.0, 10_000.0));
        assert_eq!((axis.place(10.0), axis.place(10_000.0)), (0.0, 1.0));
        assert_eq!(axis.ticks(), [10.0, 100.0, 1000.0, 10_000.0]);
        let axis = Axis::over(Scale::Linear, values.into_iter());
        assert_eq!((axis.place(0.0), axis.place(3000.0)), (0.0, 1.0));
        // One value, and one that is a power of ten, have a place as well.
        let axis = Axis::over(Scale::Logarithmic, [100.0].into_iter());
        assert!((0.0..=1.0).contains(&axis.place(100.0)));
    }

    #[test]
    fn what_engines_are_called_is_text() {
        let bar = Bar {
            name: "<script>",
            colour: 0,
            value: 1.0,
            mark: Some(2.0),
            label: "\"&".to_owned(),
        };
        let svg = bars(&[bar]);
        assert!(
            !svg.contains("<script>") && svg.contains("&quot;&amp;"),
            "{svg}"
        );
        assert_eq!(
            curves(&[], Scale::Linear, &|_| String::new(), &|_| String::new()),
            ""
        );
    }
}
