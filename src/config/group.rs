//! The keys that say who is chosen, who may be, and what is kept ready: the same in every role.

use super::{
    ConfigError, GroupConfig,
    file::{PoolKeys, ProbingKeys, ScoringKeys, SelectorKeys},
    load::{Source, TIMEOUT_MIN},
    tree::KeyPath,
    value::{Balance, PoolMode, ProbeKind},
};
use crate::{pool, prober, selector, selector::Strategy, time::Duration};

/// The shortest time between two rounds of anything. A shorter one is all that the control thread would do.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The shortest reference latency: below it, what is measured is this machine.
const REFERENCE_MIN: Duration = Duration::from_millis(1);
/// The shortest memory of a pool, and the shortest life of what is in it.
const POOL_TIME_MIN: Duration = Duration::from_secs(1);
/// What an HTTP probe asks for, unless said otherwise.
const PROBE_PATH: &str = "/";

/// The keys of one group.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) balance: Option<Balance>,
    pub(super) selector: Option<SelectorKeys>,
    pub(super) probing: Option<ProbingKeys>,
    pub(super) scoring: Option<ScoringKeys>,
    pub(super) pools: Option<PoolKeys>,
}

/// What the forwarder has where a server's group has [`GroupConfig::default`]: many candidates of which a few are
/// used, and connections to addresses, which others close when they are idle.
pub(super) fn of_addresses() -> GroupConfig {
    GroupConfig {
        balance: Strategy::LeastConnections,
        selector: selector::Options {
            active_set_size: Some(4),
            ..selector::Options::default()
        },
        pool: pool::Options {
            mode: pool::Mode::Dynamic,
            min: 2,
            max: 64,
            max_age: Some(Duration::from_secs(90)),
            ..pool::Options::default()
        },
        ..GroupConfig::default()
    }
}

/// Reads one group's keys, which stand below `at`; what is absent is as in `defaults`.
pub(super) fn build(
    keys: Keys,
    at: &KeyPath,
    defaults: &GroupConfig,
    source: &Source,
    warnings: &mut Vec<String>,
) -> Result<GroupConfig, ConfigError> {
    let probing = keys.probing.unwrap_or_default();
    let scoring = keys.scoring.unwrap_or_default();
    let selector = keys.selector.unwrap_or_default();
    let pools = keys.pools.unwrap_or_default();
    Ok(GroupConfig {
        balance: keys.balance.map_or(defaults.balance, strategy),
        probing: probing_options(probing, &at.key("probing"), &defaults.probing, source, warnings)?,
        scoring: scoring_options(scoring, &at.key("scoring"), &defaults.scoring, source)?,
        selector: selector_options(selector, &at.key("selector"), &defaults.selector, source)?,
        pool: pool_options(pools, &at.key("pools"), &defaults.pool, source, warnings)?,
    })
}

fn strategy(word: Balance) -> Strategy {
    match word {
        Balance::Random => Strategy::Random,
        Balance::RoundRobin => Strategy::RoundRobin,
        Balance::Weighted => Strategy::Weighted,
        Balance::LeastConnections => Strategy::LeastConnections,
        Balance::PowerOfTwo => Strategy::PowerOfTwo,
        Balance::PeakEwma => Strategy::PeakEwma,
        Balance::ConsistentHash => Strategy::ConsistentHash,
    }
}

fn probing_options(
    keys: ProbingKeys,
    at: &KeyPath,
    defaults: &prober::Options,
    source: &Source,
    warnings: &mut Vec<String>,
) -> Result<prober::Options, ConfigError> {
    let kind = match keys.kind {
        Some(ProbeKind::Http) => prober::Kind::Http {
            path: probe_path(keys.path, &at.key("path"), source)?,
            status: probe_status(keys.status, &at.key("status"), source)?,
            host: probe_host(keys.host, &at.key("host"), source)?,
        },
        other => {
            let of_http = [
                ("path", keys.path.is_some()),
                ("status", keys.status.is_some()),
                ("host", keys.host.is_some()),
            ];
            if let Some((key, _)) = of_http.iter().find(|(_, given)| *given) {
                return Err(source.key_error(&at.key(key), "only for `kind: http`"));
            }
            match other {
                Some(ProbeKind::Tcp) => prober::Kind::Tcp,
                Some(ProbeKind::Off) => prober::Kind::Off,
                _ => defaults.kind.clone(),
            }
        }
    };
    let read = |key: &str, value, least, default| source.duration(&at.key(key), value, least, default);
    let interval = read("interval", keys.interval, INTERVAL_MIN, defaults.interval)?;
    let timeout = read("timeout", keys.timeout, TIMEOUT_MIN, defaults.timeout)?;
    if timeout > interval && kind != prober::Kind::Off {
        let place = source.place(&at.key("timeout"));
        warnings.push(format!(
            "{place}: {timeout:?} is longer than `interval`, {interval:?}: probes overlap"
        ));
    }
    Ok(prober::Options {
        interval,
        timeout,
        candidate_count: match keys.probe_candidate_count {
            None => defaults.candidate_count,
            Some(count) => count.0.map_or(prober::CandidateCount::Auto, |count| {
                prober::CandidateCount::Fixed(count as usize)
            }),
        },
        kind,
    })
}

/// What stands in a request's first line: nothing that could end it.
fn probe_path(text: Option<String>, at: &KeyPath, source: &Source) -> Result<String, ConfigError> {
    let path = text.unwrap_or_else(|| PROBE_PATH.to_owned());
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(path);
    }
    Err(source.key_error(at, format!("expected a path like `/health`, found {path:?}")))
}

fn probe_status(status: Option<u16>, at: &KeyPath, source: &Source) -> Result<Option<u16>, ConfigError> {
    match status {
        Some(status) if !(100..=599).contains(&status) => {
            Err(source.key_error(at, format!("expected a status from 100 to 599, found {status}")))
        }
        status => Ok(status),
    }
}

fn probe_host(text: Option<String>, at: &KeyPath, source: &Source) -> Result<Option<String>, ConfigError> {
    let legal = |host: &str| {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        !host.is_empty() && host.chars().all(part)
    };
    match text {
        Some(host) if !legal(&host) => {
            Err(source.key_error(at, format!("expected a host like `example.com`, found {host:?}")))
        }
        host => Ok(host),
    }
}

fn scoring_options(
    keys: ScoringKeys,
    at: &KeyPath,
    defaults: &prober::Scoring,
    source: &Source,
) -> Result<prober::Scoring, ConfigError> {
    let read = |key: &str, value, least, default| source.duration(&at.key(key), value, least, default);
    Ok(prober::Scoring {
        half_life: read("half_life", keys.half_life, INTERVAL_MIN, defaults.half_life)?,
        failure_penalty: read(
            "failure_penalty",
            keys.failure_penalty,
            Duration::ZERO,
            defaults.failure_penalty,
        )?,
        reference: match keys.reference {
            None => defaults.reference,
            Some(value) => source.some_duration(&at.key("reference"), value.0, REFERENCE_MIN)?,
        },
    })
}

fn selector_options(
    keys: SelectorKeys,
    at: &KeyPath,
    defaults: &selector::Options,
    source: &Source,
) -> Result<selector::Options, ConfigError> {
    let zero = Duration::ZERO;
    let read = |at: &KeyPath, value, least, default| source.duration(at, value, least, default);
    let switching = keys.switching.unwrap_or_default();
    let at_switching = at.key("switching");
    let times = &defaults.switching;
    Ok(selector::Options {
        evaluation_interval: read(
            &at.key("evaluation_interval"),
            keys.evaluation_interval,
            INTERVAL_MIN,
            defaults.evaluation_interval,
        )?,
        active_set_size: match keys.active_set_size {
            None => defaults.active_set_size,
            Some(size) => size.0.map(|size| size as usize),
        },
        min_score_threshold: keys
            .min_score_threshold
            .map_or(defaults.min_score_threshold, |points| points.0),
        slow_start: read(&at.key("slow_start"), keys.slow_start, zero, defaults.slow_start)?,
        switching: selector::Switching {
            hysteresis: switching.hysteresis.map_or(times.hysteresis, |share| share.0),
            min_dwell: read(
                &at_switching.key("min_dwell"),
                switching.min_dwell,
                zero,
                times.min_dwell,
            )?,
            cooldown: read(
                &at_switching.key("cooldown"),
                switching.cooldown,
                zero,
                times.cooldown,
            )?,
            hold_off: read(
                &at_switching.key("hold_off"),
                switching.hold_off,
                zero,
                times.hold_off,
            )?,
        },
    })
}

/// Reads `pools`; what is absent is as in `defaults`.
pub(super) fn pool_options(
    keys: PoolKeys,
    at: &KeyPath,
    defaults: &pool::Options,
    source: &Source,
    warnings: &mut Vec<String>,
) -> Result<pool::Options, ConfigError> {
    let mode = match keys.mode {
        None => defaults.mode,
        Some(PoolMode::Fixed) => pool::Mode::Fixed,
        Some(PoolMode::Dynamic) => pool::Mode::Dynamic,
    };
    let window = keys.scaling.unwrap_or_default().window;
    let at_window = at.key("scaling").key("window");
    if window.is_some() && mode == pool::Mode::Fixed {
        let place = source.place(&at_window);
        warnings.push(format!("{place} has no effect without `mode: dynamic`"));
    }
    let options = pool::Options {
        mode,
        min: keys.min.map_or(defaults.min, |min| min as usize),
        max: source.count(&at.key("max"), keys.max, defaults.max)?,
        max_age: match keys.max_age {
            None => defaults.max_age,
            Some(age) => source.some_duration(&at.key("max_age"), age.0, POOL_TIME_MIN)?,
        },
        scaling_window: source.duration(&at_window, window, POOL_TIME_MIN, defaults.scaling_window)?,
    };
    if options.min > options.max {
        let message = format!("min ({}) is above max ({})", options.min, options.max);
        return Err(source.key_error(at, message));
    }
    Ok(options)
}
