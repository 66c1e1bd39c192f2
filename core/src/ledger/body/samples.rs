//! Samples as they are written: once a second for as long as a job runs, so that what they share stands once.

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sample::{Reading, Sample};

/// See [`super::Body::Samples`].
///
/// Written as `{"intervals":[{"started":…,"duration_nanoseconds":…,"readings":[["GPU-1",{"gpu":{…}}],…]},…]}`: samples behind one
/// another that are of the same interval stand together. `{"samples":[…]}`, each with its interval, is an earlier form and is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// The samples, in the order of reading.
    pub samples: Vec<Sample>,
}

/// What several devices said over one interval.
#[derive(Serialize, Deserialize)]
struct Interval<Name, Said> {
    started: DateTime<Utc>,
    duration_nanoseconds: u64,
    readings: Vec<(Name, Said)>,
}

#[derive(Serialize)]
struct Written<'a> {
    intervals: Vec<Interval<&'a str, &'a Reading>>,
}

#[derive(Deserialize)]
struct Read {
    intervals: Option<Vec<Interval<String, Reading>>>,
    samples: Option<Vec<Sample>>,
}

const fn interval(sample: &Sample) -> (DateTime<Utc>, u64) {
    (sample.started, sample.duration_nanoseconds)
}

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let together = self.samples.chunk_by(|one, next| interval(one) == interval(next));
        let intervals = together.filter_map(|samples| {
            let (started, duration_nanoseconds) = interval(samples.first()?);
            let readings = samples.iter().map(|sample| (sample.device.as_str(), &sample.reading)).collect();
            Some(Interval { started, duration_nanoseconds, readings })
        });
        Written { intervals: intervals.collect() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Samples {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Read::deserialize(deserializer)? {
            Read { intervals: Some(intervals), samples: None } => Ok(Self::of(intervals)),
            Read { intervals: None, samples: Some(samples) } => Ok(Self { samples }),
            Read { .. } => Err(D::Error::custom("either `intervals` or `samples` has to be there")),
        }
    }
}

impl Samples {
    fn of(intervals: Vec<Interval<String, Reading>>) -> Self {
        let of_interval = |Interval { started, duration_nanoseconds, readings }: Interval<String, Reading>| {
            let sample = move |(device, reading)| Sample { device, started, duration_nanoseconds, reading };
            readings.into_iter().map(sample)
        };
        Self { samples: intervals.into_iter().flat_map(of_interval).collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(device: u8, second: u32, duration_nanoseconds: u64) -> Sample {
        Sample {
            device: format!("GPU-{device}"),
            started: DateTime::from_timestamp(second.into(), 0).unwrap(),
            duration_nanoseconds,
            reading: Reading::Missing { reason: "t".to_owned() },
        }
    }

    #[test]
    fn an_interval_stands_once_for_all_its_devices() {
        let samples = Samples { samples: vec![sample(1, 7, 5), sample(2, 7, 5), sample(1, 8, 5)] };
        let text = serde_json::to_string(&samples).unwrap();
        assert_eq!(
            text,
            r#"{"intervals":[{"started":"1970-01-01T00:00:07Z","duration_nanoseconds":5,"readings":[["GPU-1",{"missing":{"reason":"t"}}],["GPU-2",{"missing":{"reason":"t"}}]]},{"started":"1970-01-01T00:00:08Z","duration_nanoseconds":5,"readings":[["GPU-1",{"missing":{"reason":"t"}}]]}]}"#
        );
    }

    #[test]
    fn the_earlier_form_is_read() {
        let text = r#"{"samples":[{"device":"GPU-1","started":"1970-01-01T00:00:07Z","duration_nanoseconds":5,"reading":{"missing":{"reason":"t"}}}]}"#;
        assert_eq!(serde_json::from_str::<Samples>(text).unwrap(), Samples { samples: vec![sample(1, 7, 5)] });
    }

    #[test]
    fn what_is_neither_form_is_refused() {
        for text in ["{}", r#"{"intervals":[],"samples":[]}"#, r#"{"intervals":[{"started":"1970-01-01T00:00:07Z"}]}"#]
        {
            assert!(serde_json::from_str::<Samples>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn samples_keep_their_order_and_their_intervals(
            samples in prop::collection::vec((0_u8..4, 0_u32..3, 0_u64..2).prop_map(|(device, second, length)| sample(device, second, length)), 0..20)
        ) {
            let samples = Samples { samples };
            let text = serde_json::to_string(&samples).unwrap();
            prop_assert_eq!(serde_json::from_str::<Samples>(&text).unwrap(), samples);
        }
    }
}
