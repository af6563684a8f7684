//! What a load costs the server: memory and processor time, from its `/metrics` or from `/proc`.

use std::time::Duration;

use super::super::webhook::Webhooks;
use super::own;

/// A server's process at one moment. Each part is none where it cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Memory in RAM, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time since it started.
    pub cpu: Option<Duration>,
    /// Processors that it may use.
    pub cores: Option<f64>,
}

/// Asks. `pid`: of the server, if it is on this machine, which is then asked first.
pub async fn read(server: &Webhooks, bearer: Option<&str>, pid: Option<u32>) -> Cost {
    if let Some(pid) = pid.map(|pid| pid.to_string()) {
        let cost = Cost {
            memory_bytes: own::memory_of(&pid),
            cpu: own::cpu_of(&pid),
            cores: Some(own::cores() as f64),
        };
        if cost.memory_bytes.is_some() {
            return cost;
        }
    }
    match server.get("/metrics", bearer).await {
        Ok(reply) if reply.status.is_success() => parse(&reply.body),
        _ => Cost::default(),
    }
}

/// Reads Prometheus' text format, for the names that its client libraries give a process.
fn parse(text: &str) -> Cost {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            let rest = rest
                .strip_prefix('{')
                .map_or(rest, |labels| labels.split_once('}').map_or("", |(_, rest)| rest));
            let number = rest.strip_prefix(' ')?.split_whitespace().next()?;
            number.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
        })
    };
    Cost {
        memory_bytes: value("process_resident_memory_bytes").map(|bytes| bytes as u64),
        cpu: value("process_cpu_seconds_total").and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        cores: value("process_cpu_cores"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_from_metrics_whatever_else_is_there() {
        let cost = parse(
            "# HELP process_cpu_seconds_total time\n# TYPE process_cpu_seconds_total counter\n\
             process_cpu_seconds_total 12.5\nprocess_resident_memory_bytes{a=\"b\"} 1.5e8 1700000000\n\
             process_cpu_cores 2\nprocess_cpu_cores_other 9\n",
        );
        assert_eq!(cost.memory_bytes, Some(150_000_000));
        assert_eq!(cost.cpu, Some(Duration::from_millis(12_500)));
        assert_eq!(cost.cores, Some(2.0));
        assert_eq!(parse("<html>"), Cost::default());
        assert_eq!(parse("process_cpu_cores NaN\nprocess_cpu_seconds_total"), Cost::default());
    }
}
