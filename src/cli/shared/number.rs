//! Whole numbers on the command line.

use std::fmt::Display;
use std::str::FromStr;

/// Makes a parser of whole numbers of at least `least`.
pub fn at_least<T>(least: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync,
{
    move |text| {
        let number = text.parse().ok().filter(|number| *number >= least);
        number.ok_or_else(|| format!("give a whole number of at least {least}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_that_are_not_too_small_or_too_large_are_taken() {
        let parse = at_least(1_u32);
        assert_eq!((parse("1"), parse("20")), (Ok(1), Ok(20)));
        for wrong in ["0", "-1", "", "five", "1.5", " 1", "0x10", "4294967296", "\u{661}"] {
            assert_eq!(parse(wrong), Err("give a whole number of at least 1".to_owned()), "{wrong}");
        }
        assert_eq!(at_least(0_i64)("0"), Ok(0));
        assert!(at_least(0_i64)("-1").is_err());
    }
}
