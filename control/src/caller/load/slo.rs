//! Service-level objectives as people write them, `response_p95<800ms,underruns=0,failed<1%`, and what a load test says to them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::LoadResult;
use super::expect::Expectations;

/// What the terms of an objective can be about, for people.
pub const HELP: &str = "\
An objective is terms with commas between them, each a measure, one of < <= = >= >, and a value.
  Times, with a unit (ms, s) and a statistic (_p50 _p75 _p90 _p95 _p99 _p99.9 _mean _max):
    setup        from when a call was to be placed to its open media stream
    first_audio  from the open stream to the agent's first sound
    response     from the caller's last voiced sample to the agent's first sound
    barge_in     from the caller's first sound over the agent to `clear`
    lateness     how late the caller's own frames left
  Counts:
    calls  completed  failed  underruns  faults  unsaid (things not said)
    unanswered (answers that never came)
    unexpected (calls of which the agent recorded something else than the scenario expects)
  Shares of calls, as 1%:
    completed  failed  underruns  faults  unexpected";

/// An objective: all of its terms hold, or it does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq)]
struct Term {
    measure: Measure,
    comparison: Comparison,
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    Time(Timing, Statistic),
    Count(Count),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timing {
    Setup,
    FirstAudio,
    Response,
    BargeIn,
    Lateness,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    Quantile(f64),
    Mean,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Calls,
    Completed,
    Failed,
    Underruns,
    Faults,
    Unsaid,
    Unanswered,
    Unexpected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    Time(Duration),
    Number(u64),
    Share(f64),
}

const TIMINGS: [(&str, Timing); 5] = [
    ("setup", Timing::Setup),
    ("first_audio", Timing::FirstAudio),
    ("response", Timing::Response),
    ("barge_in", Timing::BargeIn),
    ("lateness", Timing::Lateness),
];

const STATISTICS: [(&str, Statistic); 8] = [
    ("p50", Statistic::Quantile(0.5)),
    ("p75", Statistic::Quantile(0.75)),
    ("p90", Statistic::Quantile(0.9)),
    ("p95", Statistic::Quantile(0.95)),
    ("p99", Statistic::Quantile(0.99)),
    ("p99.9", Statistic::Quantile(0.999)),
    ("mean", Statistic::Mean),
    ("max", Statistic::Max),
];

const COUNTS: [(&str, Count); 8] = [
    ("calls", Count::Calls),
    ("completed", Count::Completed),
    ("failed", Count::Failed),
    ("underruns", Count::Underruns),
    ("faults", Count::Faults),
    ("unsaid", Count::Unsaid),
    ("unanswered", Count::Unanswered),
    ("unexpected", Count::Unexpected),
];

/// Longer ones first, so that `<` does not take the beginning of `<=`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::More),
    ("=", Comparison::Equal),
];

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

fn name_of<T: Copy + PartialEq, const N: usize>(table: &[(&'static str, T); N], value: T) -> &'static str {
    table.iter().find(|(_, known)| *known == value).map_or("?", |(name, _)| name)
}

/// Why an objective is none. Displays as what is wrong and what can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{term:?} is no objective: {why}")]
pub struct SloError {
    term: String,
    why: String,
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let terms = text.split(',').map(str::trim);
        let terms: Vec<Term> = terms.map(Term::from_str).collect::<Result<_, _>>()?;
        Ok(Self { terms })
    }
}

impl FromStr for Term {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let wrong = |why: String| SloError { term: text.to_owned(), why };
        if text.is_empty() {
            return Err(wrong("write it as response_p95<800ms, with commas between terms".into()));
        }
        let Some(at) = text.find(['<', '>', '=']) else {
            return Err(wrong("there is none of < <= = >= > in it, as in response_p95<800ms".into()));
        };
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (sign, comparison) =
            COMPARISONS.iter().find(|(sign, _)| rest.starts_with(sign)).expect("find() saw one of them");
        let value = rest[sign.len()..].trim();
        let measure = measure(name).map_err(&wrong)?;
        let bound = bound(measure, value).map_err(&wrong)?;
        Ok(Self { measure, comparison: *comparison, bound })
    }
}

fn measure(name: &str) -> Result<Measure, String> {
    if let Some(count) = named(&COUNTS, name) {
        return Ok(Measure::Count(count));
    }
    let statistics = || STATISTICS.map(|(name, _)| name).join(", ");
    if named(&TIMINGS, name).is_some() {
        return Err(format!("{name} is many times: say which, as {name}_p95 (one of {})", statistics()));
    }
    let timing = TIMINGS.iter().find_map(|(known, timing)| {
        let statistic = name.strip_prefix(known)?.strip_prefix('_')?;
        Some((*known, *timing, statistic))
    });
    match timing {
        Some((_, timing, statistic)) if named(&STATISTICS, statistic).is_some() => {
            Ok(Measure::Time(timing, named(&STATISTICS, statistic).expect("it was just found")))
        }
        Some((known, _, statistic)) => {
            Err(format!("{known} has no {statistic:?}: take one of {}", statistics()))
        }
        None => Err(format!(
            "{name:?} is not measured: take one of {} (with _p95 or the like), or of {}",
            TIMINGS.map(|(name, _)| name).join(", "),
            COUNTS.map(|(name, _)| name).join(", ")
        )),
    }
}

fn bound(measure: Measure, value: &str) -> Result<Bound, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    match measure {
        Measure::Time(..) => {
            let (digits, scale) = match (value.strip_suffix("ms"), value.strip_suffix('s')) {
                (Some(digits), _) => (digits, 0.001),
                (None, Some(digits)) => (digits, 1.0),
                (None, None) => return Err(format!("{value:?} is no time: write it as 800ms or 1.5s")),
            };
            let seconds =
                number(digits).ok_or_else(|| format!("{value:?} is no time: write it as 800ms or 1.5s"))?;
            Duration::try_from_secs_f64(seconds * scale)
                .map(Bound::Time)
                .map_err(|_| format!("{value:?} is longer than any call"))
        }
        Measure::Count(count) => {
            if let Some(digits) = value.strip_suffix('%') {
                let share = number(digits).filter(|share| *share <= 100.0);
                let share = share.ok_or_else(|| format!("{value:?} is no share: write it as 1%"))?;
                return match count {
                    Count::Calls | Count::Unsaid | Count::Unanswered => {
                        Err(format!("{} is no share of the calls: write a number", name_of(&COUNTS, count)))
                    }
                    _ => Ok(Bound::Share(share / 100.0)),
                };
            }
            value
                .parse()
                .map(Bound::Number)
                .map_err(|_| format!("{value:?} is no count: write it as 0, or as a share of the calls, 1%"))
        }
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<String> = self.terms.iter().map(Term::to_string).collect();
        f.write_str(&terms.join(","))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.measure {
            Measure::Time(timing, statistic) => {
                write!(f, "{}_{}", name_of(&TIMINGS, timing), name_of(&STATISTICS, statistic))?;
            }
            Measure::Count(count) => f.write_str(name_of(&COUNTS, count))?,
        }
        let sign = match self.comparison {
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::Equal => "=",
            Comparison::AtLeast => ">=",
            Comparison::More => ">",
        };
        write!(f, "{sign}{}", self.bound)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{}ms", (time.as_secs_f64() * 1e6).round() / 1e3),
            Self::Number(number) => write!(f, "{number}"),
            Self::Share(share) => write!(f, "{}%", (share * 1e5).round() / 1e3),
        }
    }
}

/// What a test says to one term.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The term.
    pub term: String,
    /// What was measured; none if nothing was.
    pub measured: Option<String>,
    /// Whether it held; none if nothing was measured, or not all.
    pub held: Option<bool>,
    /// Why what was measured does not show that it held.
    pub doubt: Option<String>,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.measured, self.held) {
            (Some(measured), Some(true)) => write!(f, "{} held: {measured}", self.term),
            (Some(measured), None) => {
                let doubt = self.doubt.as_deref().unwrap_or("not all of it was measured");
                write!(f, "{} cannot be told: {measured}, but {doubt}", self.term)
            }
            (Some(measured), Some(false)) => write!(f, "{} did not hold: {measured}", self.term),
            (None, _) => write!(f, "{} was not measured", self.term),
        }
    }
}

/// What a test says to an objective.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every term held.
    Held,
    /// At least one did not.
    NotHeld,
    /// The test cannot tell.
    None {
        /// Why, and what to do.
        why: String,
    },
}

impl Slo {
    /// Compares with a test, term by term.
    pub fn judge(&self, result: &LoadResult, expectations: Option<&Expectations>) -> Vec<Judged> {
        self.terms.iter().map(|term| term.judge(result, expectations)).collect()
    }
}

/// The verdict that follows from the terms. `bottleneck`: why the test's figures are its own doing, if they are.
pub fn verdict(judged: &[Judged], bottleneck: Option<String>) -> Verdict {
    if let Some(why) = bottleneck {
        return Verdict::None { why };
    }
    if judged.iter().any(|term| term.held == Some(false)) {
        return Verdict::NotHeld;
    }
    match judged.iter().find(|term| term.held.is_none()) {
        Some(term) if term.doubt.is_some() => Verdict::None { why: term.to_string() },
        Some(term) => Verdict::None {
            why: format!(
                "{}: nothing of the kind happened, so run longer, or take a scenario in which it does",
                term
            ),
        },
        None => Verdict::Held,
    }
}

impl Term {
    fn judge(&self, result: &LoadResult, expectations: Option<&Expectations>) -> Judged {
        let measured = match self.measure {
            Measure::Time(timing, statistic) => time(result, timing, statistic).map(Bound::Time),
            Measure::Count(count) => {
                let calls = result.calls.len() as u64;
                let share = matches!(self.bound, Bound::Share(_));
                counted(result, expectations, count, share).and_then(|(number, of)| match share {
                    false => Some(Bound::Number(number)),
                    true => (calls > 0 && of > 0).then(|| Bound::Share(number as f64 / of as f64)),
                })
            }
        };
        let held = measured.map(|measured| self.holds(measured));
        // What is missing could only have broken it.
        let doubt = self.missing(result, expectations).filter(|_| held == Some(true));
        Judged {
            term: self.to_string(),
            measured: measured.map(|measured| measured.to_string()),
            held: if doubt.is_some() { None } else { held },
            doubt,
        }
    }

    /// What of its kind happened, and is not in its measure.
    fn missing(&self, result: &LoadResult, expectations: Option<&Expectations>) -> Option<String> {
        match self.measure {
            Measure::Count(Count::Underruns) => {
                let own = result.measures.own_underruns;
                (own > 0).then(|| {
                    format!("the caller read late and made {own} more itself: place fewer calls, or call from another machine")
                })
            }
            Measure::Count(Count::Unexpected) => {
                let unread = expectations.map_or(0, |expectations| expectations.unread);
                (unread > 0).then(|| format!("the records of {unread} calls could not be read"))
            }
            _ => None,
        }
    }

    fn holds(&self, measured: Bound) -> bool {
        let order = match (measured, self.bound) {
            (Bound::Time(a), Bound::Time(b)) => a.cmp(&b),
            (Bound::Number(a), Bound::Number(b)) => a.cmp(&b),
            (Bound::Share(a), Bound::Share(b)) => a.total_cmp(&b),
            _ => unreachable!("a term is measured in what it is bounded by"),
        };
        match self.comparison {
            Comparison::Less => order.is_lt(),
            Comparison::AtMost => order.is_le(),
            Comparison::Equal => order.is_eq(),
            Comparison::AtLeast => order.is_ge(),
            Comparison::More => order.is_gt(),
        }
    }
}

fn time(result: &LoadResult, timing: Timing, statistic: Statistic) -> Option<Duration> {
    let measures = &result.measures;
    let us: Histogram<u64> = match timing {
        Timing::Setup => measures.setup.whole(),
        Timing::FirstAudio => measures.first_audio.whole(),
        Timing::Response => measures.response.whole(),
        Timing::BargeIn => measures.barge_in.whole(),
        Timing::Lateness => measures.lateness.clone(),
    };
    if us.is_empty() {
        return None;
    }
    let us = match statistic {
        Statistic::Quantile(share) => us.value_at_quantile(share).min(us.max()),
        Statistic::Mean => us.mean() as u64,
        Statistic::Max => us.max(),
    };
    Some(Duration::from_micros(us))
}

/// The count, and what it is a share of. `share`: calls are counted, not events.
fn counted(
    result: &LoadResult,
    expectations: Option<&Expectations>,
    count: Count,
    share: bool,
) -> Option<(u64, u64)> {
    let (measures, calls) = (&result.measures, result.calls.len() as u64);
    let number = match count {
        Count::Calls => calls,
        Count::Completed => result.completed() as u64,
        Count::Failed => result.failed() as u64,
        Count::Underruns if share => measures.calls_with_underruns,
        Count::Underruns => measures.underruns,
        Count::Faults if share => measures.calls_with_faults,
        Count::Faults => measures.faults,
        Count::Unsaid => measures.unsaid,
        Count::Unanswered => measures.response.waited().len(),
        Count::Unexpected => {
            let expectations = expectations?;
            return Some((expectations.unexpected() as u64, expectations.checked() as u64));
        }
    };
    Some((number, calls))
}

#[cfg(test)]
mod tests {
    use super::super::tests::result;
    use super::*;

    fn slo(text: &str) -> Slo {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_is_missing_from_a_measure_leaves_no_verdict_unless_it_failed_anyway() {
        let mut own = result(&[700], 10, 0);
        own.measures.own_underruns = 2;
        let judged = slo("underruns=0").judge(&own, None);
        assert_eq!(judged[0].held, None);
        let Verdict::None { why } = verdict(&judged, None) else { panic!("{judged:?}") };
        assert!(why.contains("made 2 more itself"), "{why}");
        own.measures.underruns = 1;
        assert_eq!(verdict(&slo("underruns=0").judge(&own, None), None), Verdict::NotHeld);

        let unread = Expectations { calls: Vec::new(), unread: 9 };
        let judged = slo("unexpected=0").judge(&result(&[700], 10, 0), Some(&unread));
        let Verdict::None { why } = verdict(&judged, None) else { panic!("{judged:?}") };
        assert!(why.contains("9 calls could not be read"), "{why}");
    }

    #[test]
    fn terms_are_read_and_written_alike() {
        for text in [
            "response_p95<800ms",
            "response_p95<800ms,underruns=0,failed=0",
            "setup_p99.9<=1500ms,first_audio_mean>0ms,barge_in_max>=1ms,lateness_p50<2.5ms",
            "failed<1%,completed>=99.5%,unexpected=0,unsaid=0,unanswered<3,calls>10",
        ] {
            assert_eq!(slo(text).to_string(), text);
        }
        assert_eq!(slo(" response_p95 < 0.8s , failed == 0 ").to_string(), "response_p95<800ms,failed=0");
    }

    #[test]
    fn what_is_no_objective_says_what_can_be_written() {
        for (text, wanted) in [
            ("", "response_p95<800ms"),
            ("failed=0,", "commas"),
            ("response_p95", "none of <"),
            ("response<800ms", "response_p95 (one of p50"),
            ("response_p42<800ms", "no \"p42\": take one of p50, p75"),
            ("speed_p95<1s", "setup, first_audio, response"),
            ("response_p95<800", "800ms or 1.5s"),
            ("response_p95<fasts", "800ms or 1.5s"),
            ("response_p95<-1s", "800ms or 1.5s"),
            ("response_p95<1e300s", "longer than any call"),
            ("failed=none", "a share of the calls, 1%"),
            ("failed=1.5", "as 0, or"),
            ("failed<101%", "no share"),
            ("unsaid<1%", "write a number"),
            ("=5", "is not measured"),
        ] {
            let error = text.parse::<Slo>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn a_test_is_compared_with_each_term() {
        let result = result(&[700, 720, 900], 4, 1);
        let judge = |text: &str| {
            let judged = slo(text).judge(&result, None);
            (judged[0].held, judged[0].measured.clone())
        };
        assert_eq!(judge("response_p50<800ms").0, Some(true));
        assert_eq!(judge("response_max<800ms").0, Some(false));
        assert_eq!(judge("failed=0"), (Some(false), Some("1".into())));
        assert_eq!(judge("failed<30%"), (Some(true), Some("25%".into())));
        assert_eq!(judge("completed>=75%").0, Some(true));
        assert_eq!(judge("calls=4").0, Some(true));
        assert_eq!(judge("barge_in_p95<1s"), (None, None));
        assert_eq!(judge("unexpected=0"), (None, None));
    }

    #[test]
    fn the_verdict_is_the_worst_of_the_terms_and_none_where_the_test_was_in_its_own_way() {
        let term = |held: Option<bool>| Judged {
            term: "failed=0".into(),
            measured: held.map(|_| "1".into()),
            held,
            doubt: None,
        };
        let (yes, no, unknown) = (term(Some(true)), term(Some(false)), term(None));
        assert_eq!(verdict(&[yes.clone(), yes.clone()], None), Verdict::Held);
        assert_eq!(verdict(&[yes.clone(), no.clone(), unknown.clone()], None), Verdict::NotHeld);
        let Verdict::None { why } = verdict(&[yes.clone(), unknown], None) else { panic!("not measured") };
        assert!(why.contains("was not measured"), "{why}");
        assert_eq!(verdict(&[no], Some("late".into())), Verdict::None { why: "late".into() });
        assert_eq!(yes.to_string(), "failed=0 held: 1");
    }
}
