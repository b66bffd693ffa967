//! The text of the page: `prometheus`'s data model, filled anew for each scrape, and its text encoder.

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::stats::Histogram;

/// A name and a value.
pub(super) type Label = LabelPair;

/// A page that is being written, family by family.
#[derive(Default)]
pub(super) struct Page {
    families: Vec<MetricFamily>,
}

impl Page {
    /// A family of values that only grow.
    pub(super) fn counter(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Vec<Label>, f64)>) {
        let metrics = samples.into_iter().map(|(labels, value)| {
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = Metric::from_label(labels);
            metric.set_counter(counter);
            metric
        });
        self.family(name, help, MetricType::COUNTER, metrics.collect());
    }

    /// A family of values that come and go.
    pub(super) fn gauge(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Vec<Label>, f64)>) {
        let metrics = samples.into_iter().map(|(labels, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = Metric::from_label(labels);
            metric.set_gauge(gauge);
            metric
        });
        self.family(name, help, MetricType::GAUGE, metrics.collect());
    }

    /// A family of latencies, in seconds.
    pub(super) fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<Label>, &'a Histogram)>,
    ) {
        let metrics = samples.into_iter().map(|(labels, latencies)| {
            let mut metric = Metric::from_label(labels);
            metric.set_histogram(histogram(latencies));
            metric
        });
        self.family(name, help, MetricType::HISTOGRAM, metrics.collect());
    }

    /// The whole page.
    pub(super) fn text(&self) -> String {
        // The encoder refuses only a family without a name or without samples, and neither gets in.
        TextEncoder::new().encode_to_string(&self.families).unwrap_or_default()
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.families.push(family);
    }
}

/// Labels of a sample. Values may be any text; the encoder escapes them.
pub(super) fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
    let pair = |(name, value): &(&str, &str)| {
        let mut label = LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value((*value).to_owned());
        label
    };
    pairs.iter().map(pair).collect()
}

fn histogram(latencies: &Histogram) -> prometheus::proto::Histogram {
    let bucket = |(bound_us, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(seconds(bound_us));
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = prometheus::proto::Histogram::default();
    histogram.set_bucket(latencies.octaves().map(bucket).collect());
    histogram.set_sample_count(latencies.count());
    histogram.set_sample_sum(seconds(latencies.sum_us()));
    histogram
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
