//! Figures that are to be no less, or no more, than others.

use serde::Serialize;

use crate::row::median;

/// A figure, and what it is to be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// How much it is.
    pub value: f64,
    /// What it is to be at the least.
    pub at_least: Option<f64>,
    /// What it is to be at the most.
    pub at_most: Option<f64>,
    /// Whether it is so; `None` where nothing is asked of it, or not on this machine.
    pub reached: Option<bool>,
}

/// What a figure is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    Nothing,
}

impl Judged {
    pub(crate) fn new(value: f64, wanted: Wanted) -> Judged {
        let (at_least, at_most, reached) = match wanted {
            Wanted::AtLeast(bound) => (Some(bound), None, Some(value >= bound)),
            Wanted::AtMost(bound) => (None, Some(bound), Some(value <= bound)),
            Wanted::Nothing => (None, None, None),
        };
        Judged {
            value,
            at_least,
            at_most,
            reached,
        }
    }
}

/// The median of the ratios of the rounds; `None` without any.
pub(crate) fn median_ratio(values: &[f64], by: &[f64]) -> Option<f64> {
    let rounds = values.iter().zip(by);
    let ratios: Vec<f64> = rounds
        .map(|(value, by)| value / by.max(f64::MIN_POSITIVE))
        .collect();
    (!ratios.is_empty()).then(|| median(&ratios))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        for (value, wanted, reached) in [
            (3.0, Wanted::AtLeast(3.0), Some(true)),
            (2.9, Wanted::AtLeast(3.0), Some(false)),
            (0.1, Wanted::AtMost(0.1), Some(true)),
            (0.2, Wanted::AtMost(0.1), Some(false)),
            (0.2, Wanted::Nothing, None),
        ] {
            assert_eq!(Judged::new(value, wanted).reached, reached, "{value}");
        }
        assert_eq!(median_ratio(&[1.0, 8.0, 6.0], &[1.0, 2.0, 3.0]), Some(2.0));
        assert_eq!(median_ratio(&[], &[1.0]), None);
    }
}
