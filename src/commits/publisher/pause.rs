//! When the leader goes over all keys again. It is random, so that several namespaces do not come together.

use std::f64::consts::TAU;
use std::time::Duration;

/// The standard deviation of a pause, as a part of the period.
const FUZZ: f64 = 0.2;

/// Returns a pause, with a normally distributed random number.
pub(super) fn pause(period: Duration, gauss: f64) -> Duration {
    period.mul_f64((1.0 + FUZZ * gauss).max(0.0))
}

/// Returns a normally distributed number of mean 0 and variance 1, of two numbers that are equally
/// distributed in `[0, 1)` (Box and Muller).
pub(super) fn gauss(one: f64, other: f64) -> f64 {
    // 1 - one is never 0, which has no logarithm.
    (-2.0 * (1.0 - one).ln()).sqrt() * (TAU * other).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_never_negative() {
        let period = Duration::from_secs(90);
        for (gauss, seconds) in [(0.0, 90), (1.0, 108), (-1.0, 72), (-5.0, 0), (-9.0, 0)] {
            let pause = pause(period, gauss);
            assert!(pause.abs_diff(Duration::from_secs(seconds)) < Duration::from_millis(1), "{pause:?}");
        }
    }

    #[test]
    fn the_numbers_are_normally_distributed() {
        let mut random = fastrand::Rng::with_seed(1);
        let numbers: Vec<f64> = (0..10_000).map(|_| gauss(random.f64(), random.f64())).collect();
        let mean = numbers.iter().sum::<f64>() / 1e4;
        let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        let near = numbers.iter().filter(|number| number.abs() < 1.0).count();
        assert!((6_600..7_050).contains(&near), "{near} of 6827");
        assert_eq!(gauss(0.0, 0.5), 0.0);
    }
}
