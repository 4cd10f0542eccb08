//! What was measured, and whether it meets its goal.

use std::fmt::{self, Display};

use crate::contender::Both;
use crate::usage::Usage;

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
    /// At most the floor so many times, and so much more.
    AtMostFloorTimesPlus(f64, f64),
}

struct Row {
    name: String,
    unit: Unit,
    values: Both<f64>,
    goal: Goal,
}

/// What is compared in the rows that follow.
struct Head {
    title: String,
    floor: &'static str,
    daemon: &'static str,
}

enum Line {
    Head(Head),
    Row(Row),
}

#[derive(Default)]
pub struct Table(Vec<Line>);

impl Table {
    /// Begins a part of the table, with the names of both sides.
    pub fn head(&mut self, title: &str, floor: &'static str, daemon: &'static str) {
        self.0.push(Line::Head(Head { title: title.to_owned(), floor, daemon }));
    }

    pub fn row(&mut self, name: &str, unit: Unit, values: Both<f64>, goal: Goal) {
        self.0.push(Line::Row(Row { name: name.to_owned(), unit, values, goal }));
    }

    /// What all processes of each side use, and then the daemon's part and that of its store.
    pub fn usage(&mut self, name: &str, unit: Unit, values: &Both<Usage>, goal: Goal) {
        self.row(name, unit, values.map(|usage| usage.total()), goal);
        let parts =
            [("the daemon alone", values.daemon.own), ("the processes of its store", values.daemon.stores)];
        for (part, value) in parts {
            self.row(&format!("    {part}"), unit, Both { floor: f64::NAN, daemon: value }, Goal::None);
        }
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
            Goal::AtMostFloorTimesPlus(most, more) => format!("<= {most:.2}x + {more:.2}"),
        }
    }

    /// Whether the goal is met, if there is one.
    fn is_met(&self) -> Option<bool> {
        let Both { floor, daemon } = self.values;
        match self.goal {
            Goal::None => None,
            Goal::AtMost(most) => Some(daemon <= most),
            Goal::AtLeastFloor => Some(daemon >= floor),
            Goal::AtMostFloorTimes(most) => Some(daemon <= floor * most),
            Goal::AtMostFloorTimesPlus(most, more) => Some(daemon <= floor * most + more),
        }
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
            let line = format!("{name:<46} {floor:>11} {daemon:>11} {ratio:>7}  {goal:<15} {verdict}");
            writeln!(f, "{}", line.trim_end())
        };
        for (index, shown) in self.0.iter().enumerate() {
            let row = match shown {
                Line::Head(Head { title, floor, daemon }) => {
                    if index > 0 {
                        writeln!(f)?;
                    }
                    line(f, [title, floor, daemon, "ratio", "goal", ""])?;
                    continue;
                }
                Line::Row(row) => row,
            };
            let Both { floor, daemon } = row.values.map(|value| row.unit.show(*value));
            let verdict = match row.is_met() {
                None => "",
                Some(true) => "met",
                Some(false) => "MISSED",
            };
            line(f, [&row.name, &floor, &daemon, &row.ratio(), &row.goal(), verdict])?;
        }
        let verdicts = self.0.iter().filter_map(|shown| match shown {
            Line::Head(_) => None,
            Line::Row(row) => row.is_met(),
        });
        let (met, missed): (Vec<_>, Vec<_>) = verdicts.partition(|is_met| *is_met);
        writeln!(f, "\n{} goals met, {} missed", met.len(), missed.len())
    }
}

/// The median of each part of `values`.
pub fn median_usage(values: &[Usage]) -> Usage {
    let median = |part: fn(&Usage) -> f64| percentile(&values.iter().map(part).collect::<Vec<_>>(), 0.5);
    Usage { own: median(|usage| usage.own), stores: median(|usage| usage.stores) }
}

/// The value that `share` of `values` do not exceed (nearest rank); NaN if there are none.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
