//! What nodes count, as it has to add up when everybody has gone home.

mod meanwhile;
mod pairs;

use std::collections::BTreeMap;

use adit::metrics::Metrics;

use crate::{
    node::{Boot, Node},
    oracle::{access::Answers, rest::Figure},
    plan::{Plan, who::Who},
    world::World,
};

/// How visitors end whom no client has carried.
const TURNED_AWAY: [&str; 5] = [
    "all_refused",
    "ambiguous_tries",
    "may_have_arrived",
    "no_target",
    "start_timeout",
];

/// The figures of the nodes that run at rest, and what they make of each other.
pub fn figures(world: &World, plan: &Plan, probed: i64) -> Vec<Figure> {
    let Some(server) = world.node(Who::Server).and_then(Node::boot) else {
        return Vec::new();
    };
    let page = Page::of(&server.metrics);
    let count = |counter, label: &str| signed(page.sum(counter, label));
    let mut all = Vec::new();
    for direction in ["up", "down"] {
        let label = format!("direction=\"{direction}\"");
        let bytes = count("bytes", &label);
        let entries = count("entry_bytes", &label);
        all.push((format!("bytes {direction} of entries"), entries, (bytes, bytes)));
        if plan.forward.is_none() {
            let clients = count("client_bytes", &label);
            // What a client carried before it left is forgotten.
            all.push((format!("bytes {direction} of clients"), clients, (0, bytes)));
        }
    }
    let visitors = count("visitors", "");
    let of_entries = count("entry_visitors", "");
    all.push(("visitors of entries".to_owned(), of_entries, (visitors, visitors)));
    // Ten a second, up to a hundred; and a request fails now and then.
    let saved = page.least("http_retry_budget");
    let saved = saved.map(|saved| ("retries saved up".to_owned(), saved as i64, (90, 100)));
    all.extend(saved);
    // What is counted by entry is counted in all.
    for (label, value) in page.series("session_outcomes", "_total") {
        let reason = label.trim_matches(['{', '}']);
        let of_entries = count("entry_outcomes", reason);
        let in_all = value.parse().unwrap_or(0);
        all.push((
            format!("sessions of entries that end as {reason}"),
            of_entries,
            (in_all, in_all),
        ));
    }
    let retries = count("http_retries", "");
    all.push((
        "retries of rules".to_owned(),
        count("http_rule_retries", ""),
        (retries, retries),
    ));
    for reason in TURNED_AWAY {
        let carried = count("client_outcomes", &format!("reason=\"{reason}\""));
        all.push((
            format!("sessions of clients that end as {reason}"),
            carried,
            (0, 0),
        ));
    }
    if plan.forward.is_none() {
        clients(world, plan, (&server.metrics, &page), probed, &mut all);
    }
    all.extend(pairs::pairs(world, plan, probed));
    all
}

/// What the clients say of themselves that are registered.
fn clients(
    world: &World,
    plan: &Plan,
    (server, page): (&Metrics, &Page),
    probed: i64,
    all: &mut Vec<Figure>,
) {
    let mut sums = [0; 3];
    let mut sent = 0;
    let registered = plan.registered();
    for n in 0..plan.clients.len() {
        let who = Who::Client(n);
        let boots = world.node(who).map(Node::boots).unwrap_or_default();
        let pages: Vec<_> = boots.iter().map(|boot| Page::of(&boot.metrics)).collect();
        sent += pages.iter().map(|page| page.beats("sent")).sum::<i64>();
        let (Some(boot), Some(page), true) = (boots.last(), pages.last(), registered.contains(&n)) else {
            continue;
        };
        let servers = if plan.second_server { 2 } else { 1 };
        all.push((
            format!("links of {who}"),
            boot.metrics.links.get(),
            (servers, servers),
        ));
        all.push((
            format!("answers to heartbeats at {who}"),
            page.beats("answered"),
            (1, page.beats("sent")),
        ));
        for (sum, gauge) in sums.iter_mut().zip(gauges(&boot.metrics)) {
            *sum += gauge;
        }
    }
    let second = world.node(Who::SecondServer).and_then(Node::boot);
    let at_second = second.map_or([0; 3], |boot| gauges(&boot.metrics));
    let names = ["proxy connections", "data links", "streams"];
    for (((name, sum), here), there) in names.into_iter().zip(sums).zip(gauges(server)).zip(at_second) {
        let here = here + there;
        all.push((
            format!("{name} at the clients"),
            sum,
            (here - probed, here + probed),
        ));
    }
    // Strangers send some, too.
    let harmless = plan.strangers.iter().all(|one| one.deed.is_harmless());
    let most = if harmless { sent } else { i64::MAX };
    let answered = page.beats("answered");
    all.push((
        "heartbeats answered by the server".to_owned(),
        answered,
        (1, most),
    ));
}

/// What both ends of a connection count.
fn gauges(metrics: &Metrics) -> [i64; 3] {
    [&metrics.proxy_connections, &metrics.data_links, &metrics.streams].map(|gauge| gauge.get())
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Limits of which nothing is used when everybody has gone home.
const FREE_AT_REST: [&str; 5] = [
    "sessions",
    "upstream_connections",
    "unproven",
    "waiting",
    "replay_bytes",
];

/// What a node shows as used of those limits: what of, how much, and how much it should be.
pub fn limits(metrics: &Metrics) -> Vec<(String, i64, i64)> {
    let page = Page::of(metrics);
    let shown = page.series("limit_used", "").filter_map(|(labels, value)| {
        let name = labels.strip_prefix("{limit=\"")?.strip_suffix("\"}")?;
        let free = FREE_AT_REST.contains(&name);
        free.then_some((format!("used of the limit {name}"), value.parse().ok()?, 0))
    });
    shown.collect()
}

/// Gauges that show something when everybody has gone home: who is there, and what is kept ready. All others show what is
/// under way.
const FULL_AT_REST: [&str; 15] = [
    "active_set_size",
    "clients",
    "data_links",
    "group_targets",
    "group_usable",
    "http_retry_budget",
    "limit_max",
    "limit_used",
    "links",
    "pool_parked",
    "proxy_connections",
    "streams",
    "target_latency_seconds",
    "target_score",
    "target_state",
];

/// All other gauges of a node: which, how much it shows, and that it should be nothing.
pub fn under_way(who: Who, metrics: &Metrics) -> Vec<(String, i64, i64)> {
    let page = Page::of(metrics);
    let types = page.0.lines();
    let gauges = types.filter_map(|line| line.strip_prefix("# TYPE adit_")?.strip_suffix(" gauge"));
    let gauges = gauges.filter(|name| !FULL_AT_REST.contains(name));
    let shown = gauges.flat_map(|name| {
        let series = page.series(name, "");
        series.filter_map(move |(labels, value)| {
            let value: f64 = value.parse().ok()?;
            Some((format!("adit_{name}{labels} of {who}"), value.ceil() as i64, 0))
        })
    });
    shown.collect()
}

/// Counters of what nobody should have to do where nothing goes wrong, and the `reason` or `result` that is no fault.
const VAIN: [(&str, &[&str]); 8] = [
    ("data_links_lost", &["reason=\"left\""]),
    ("handshake_failures", &[]),
    ("links_lost", &[]),
    ("probes", &["result=\"ok\""]),
    ("registrations_denied", &[]),
    ("replays_ambiguous", &[]),
    ("tries_failed", &[]),
    ("violations", &[]),
];

/// What was done of that, over all lives of some nodes.
pub fn vain<'a>(boots: impl Iterator<Item = &'a Boot>) -> Vec<(String, u64)> {
    let pages: Vec<_> = boots.map(|boot| Page::of(&boot.metrics)).collect();
    let counts = VAIN.iter().map(|(counter, harmless)| {
        let of_page = |page: &Page| {
            let harmless: u64 = harmless.iter().map(|label| page.sum(counter, label)).sum();
            page.sum(counter, "") - harmless
        };
        ((*counter).to_owned(), pages.iter().map(of_page).sum())
    });
    counts.filter(|(_, count)| *count > 0).collect()
}

/// Answers of an HTTP entry by class, and those that name a reason, over all lives of a node.
pub fn answers(boots: &[Boot]) -> Vec<Answers> {
    let pages: Vec<_> = boots.iter().map(|boot| Page::of(&boot.metrics)).collect();
    let by_reason = |counter: &str| {
        let mut all = BTreeMap::<String, u64>::new();
        let series = pages.iter().flat_map(|page| page.series(counter, "_total"));
        for (labels, value) in series {
            let reason = labels.trim_start_matches("{reason=\"").trim_end_matches("\"}");
            *all.entry(reason.to_owned()).or_default() += value.parse::<u64>().unwrap_or(0);
        }
        all.into_iter()
    };
    let classes = by_reason("http_answers").map(|(class, count)| Answers::Class(class, count));
    let reasons = by_reason("http_failures").map(|(reason, count)| Answers::Reason(reason, count));
    classes.chain(reasons).collect()
}

/// Bytes of sessions up and down, over all lives of a node.
pub fn bytes(boots: &[Boot]) -> (u64, u64) {
    let way = |page: &Page| ["up", "down"].map(|way| page.sum("bytes", &format!("direction=\"{way}\"")));
    let all = boots.iter().map(|boot| way(&Page::of(&boot.metrics)));
    all.fold((0, 0), |(up, down), [more_up, more_down]| {
        (up + more_up, down + more_down)
    })
}

/// How long starts took, all together, in seconds, over all lives of a node.
pub fn start_seconds(boots: &[Boot]) -> f64 {
    let pages = boots.iter().map(|boot| Page::of(&boot.metrics));
    let sums = pages.map(|page| {
        let sums = page.series("start_seconds", "_sum");
        sums.filter_map(|(_, value)| value.parse::<f64>().ok())
            .sum::<f64>()
    });
    sums.sum()
}

/// The sum of a counter over all series of a node.
pub fn sum(metrics: &Metrics, counter: &str) -> u64 {
    Page::of(metrics).sum(counter, "")
}

pub use meanwhile::uneven;

/// All that a node shows.
pub struct Page(String);

impl Page {
    /// What it shows now.
    pub fn of(metrics: &Metrics) -> Self {
        Self(metrics.encode())
    }

    /// The sum of a counter over all series that have `label`.
    fn sum(&self, counter: &str, label: &str) -> u64 {
        let series = self.series(counter, "_total");
        let of_it = series.filter(|(series, _)| series.contains(label));
        of_it.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
    }

    /// Requests whose whole time is in the histogram of their rule.
    fn totals(&self) -> i64 {
        let series = self.series("http_rule_seconds", "_count");
        let totals = series.filter(|(labels, _)| labels.contains("hop=\"total\""));
        totals.filter_map(|(_, value)| value.parse::<i64>().ok()).sum()
    }

    /// The sum of a gauge over all series.
    fn gauge(&self, gauge: &str) -> i64 {
        let values = self.series(gauge, "");
        values
            .filter_map(|(_, value)| value.parse::<f64>().ok())
            .sum::<f64>() as i64
    }

    /// The lowest of a gauge; `None` where it has no series.
    fn least(&self, gauge: &str) -> Option<f64> {
        let values = self.series(gauge, "").filter_map(|(_, value)| value.parse().ok());
        values.min_by(f64::total_cmp)
    }

    /// Labels and value of each series.
    fn series(&self, name: &str, suffix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter_map(move |line| {
            let rest = line
                .strip_prefix("adit_")?
                .strip_prefix(name)?
                .strip_prefix(suffix)?;
            let (series, value) = rest.rsplit_once(' ')?;
            (series.is_empty() || series.starts_with('{')).then_some((series, value))
        })
    }

    /// All counters, sums and numbers of histograms: name and labels, and the value.
    pub fn counters(&self) -> impl Iterator<Item = (&str, f64)> {
        let shown = self
            .0
            .lines()
            .filter_map(|line| line.strip_prefix("adit_")?.rsplit_once(' '));
        shown.filter_map(|(series, value)| {
            let name = series.split_once('{').map_or(series, |(name, _)| name);
            let counts = ["_total", "_sum", "_count"]
                .iter()
                .any(|suffix| name.ends_with(suffix));
            counts.then_some((series, value.parse().ok()?))
        })
    }

    /// How many heartbeats have that event.
    fn beats(&self, event: &str) -> i64 {
        signed(self.sum("heartbeats", &format!("event=\"{event}\"")))
    }
}
