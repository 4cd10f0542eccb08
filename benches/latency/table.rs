//! What was measured, and whether it meets its goal.

use std::fmt::{self, Display};

use crate::contender::Both;

#[derive(Clone, Copy)]
pub enum Unit {
    Milliseconds,
    Mebibytes,
    Count,
    Rate,
}

#[derive(Clone, Copy)]
pub enum Goal {
    /// No goal: the row is for information.
    None,
    AtMost(f64),
    AtLeastFloor,
    AtMostFloorTimes(f64),
}

struct Row {
    name: String,
    unit: Unit,
    values: Both<f64>,
    goal: Goal,
}

#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    pub fn row(&mut self, name: &str, unit: Unit, values: Both<f64>, goal: Goal) {
        self.0.push(Row { name: name.to_owned(), unit, values, goal });
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            // This side was not measured.
            _ if value.is_nan() => String::new(),
            Unit::Milliseconds => format!("{value:.2} ms"),
            Unit::Mebibytes => format!("{value:.1} MiB"),
            Unit::Count => format!("{value:.0}"),
            Unit::Rate => format!("{value:.1}"),
        }
    }
}

impl Row {
    fn goal(&self) -> String {
        match self.goal {
            Goal::None => String::new(),
            Goal::AtMost(most) => format!("<= {most}"),
            Goal::AtLeastFloor => ">= 1.00x".to_owned(),
            Goal::AtMostFloorTimes(most) => format!("<= {most:.2}x"),
        }
    }

    fn verdict(&self) -> &'static str {
        let Both { floor, daemon } = self.values;
        let met = match self.goal {
            Goal::None => return "",
            Goal::AtMost(most) => daemon <= most,
            Goal::AtLeastFloor => daemon >= floor,
            Goal::AtMostFloorTimes(most) => daemon <= floor * most,
        };
        if met { "met" } else { "MISSED" }
    }

    fn ratio(&self) -> String {
        let ratio = self.values.daemon / self.values.floor;
        if ratio.is_finite() { format!("{ratio:.2}x") } else { String::new() }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, cells: [&str; 6]| {
            let [name, floor, daemon, ratio, goal, verdict] = cells;
            let line = format!("{name:<42} {floor:>11} {daemon:>11} {ratio:>7}  {goal:<9} {verdict}");
            writeln!(f, "{}", line.trim_end())
        };
        line(f, ["", "floor", "daemon", "ratio", "goal", ""])?;
        for row in &self.0 {
            let Both { floor, daemon } = row.values.map(|value| row.unit.show(*value));
            line(f, [&row.name, &floor, &daemon, &row.ratio(), &row.goal(), row.verdict()])?;
        }
        Ok(())
    }
}

/// The value that `share` of `values` do not exceed (nearest rank); NaN if there are none.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
