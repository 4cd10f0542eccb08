//! Makes metrics that are computed for each request.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

pub(super) fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, MetricType::GAUGE, vec![gauge_value(value)])
}

/// Makes a gauge with several values: `values` are pairs of a value of `label` and the gauge's value there.
pub(super) fn labelled<'a>(
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (&'a str, f64)>,
) -> MetricFamily {
    let values = values.into_iter().map(|(of, value)| with_label(gauge_value(value), label, of));
    family(name, help, MetricType::GAUGE, values.collect())
}

pub(super) fn counter(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, MetricType::COUNTER, vec![counter_value(value)])
}

/// Makes a counter with several values, like [`labelled`].
pub(super) fn labelled_counter<'a>(
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (&'a str, f64)>,
) -> MetricFamily {
    let values = values.into_iter().map(|(of, value)| with_label(counter_value(value), label, of));
    family(name, help, MetricType::COUNTER, values.collect())
}

fn with_label(mut metric: Metric, label: &str, of: &str) -> Metric {
    let mut pair = LabelPair::default();
    pair.set_name(label.to_owned());
    pair.set_value(of.to_owned());
    metric.set_label(vec![pair]);
    metric
}

fn counter_value(value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}

fn gauge_value(value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    Metric::from_gauge(gauge)
}

fn family(name: &str, help: &str, kind: MetricType, values: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(values);
    family
}
