//! `adit rules explain`: which rule a request falls under, and why the others do not.

use std::process::ExitCode;

use adit::{
    config::{self, Checked, RuleConfig, ServerConfig, ServerFlags, Source},
    entry::http::headers,
    rules::{Matcher, Query, Verdict, parse_header_name, parse_method},
};
use anyhow::Context as _;
use http::{HeaderMap, Uri, Version};

use crate::{cli::ExplainArgs, terminal};

/// Prints a line for each rule; the code says whether one wins.
pub fn explain(args: &ExplainArgs, lookup: config::Lookup<'_>) -> anyhow::Result<ExitCode> {
    let source = Source::open_as(Some(&args.config), args.format)?;
    // Nothing is opened here, so secrets do not matter.
    let flags = ServerFlags {
        insecure: true,
        ..ServerFlags::default()
    };
    let Checked { config, .. } = config::build_server(&source, &flags, lookup)?;
    let uri: Uri = args
        .url
        .parse()
        .with_context(|| format!("--url {:?} is no URL", args.url))?;
    let mut fields = HeaderMap::new();
    for header in &args.headers {
        let (name, value) = header
            .split_once(':')
            .with_context(|| format!("--header {header:?} has no colon: expected `NAME: VALUE`"))?;
        fields.append(parse_header_name(name.trim())?, value.trim().parse()?);
    }
    let host = headers::host(Version::HTTP_11, &uri, &fields)
        .ok()
        .flatten()
        .context("--url names no host")?;
    let method = parse_method(&args.method)?;
    let query = match Query::new(&host, uri.path(), &method, &fields) {
        Ok(query) => query,
        Err(refused) => {
            terminal::say(format_args!("the request is answered with 400: {refused}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    let rules = config.rules.iter().flat_map(|rule| &rule.conditions);
    let matcher = Matcher::new(rules.map(|conditions| (conditions.clone(), ())).collect());
    let verdicts = matcher.explain(&query);
    let mut rest = &verdicts[..];
    for (index, rule) in config.rules.iter().enumerate() {
        let (of_rule, others) = rest.split_at(rule.conditions.len());
        rest = others;
        // One for each host: that of the host which fits says more than those of the others.
        let wins = of_rule.iter().find(|verdict| matches!(verdict, Verdict::Wins));
        let fits = of_rule.iter().find(|verdict| !matches!(verdict, Verdict::Host));
        if let Some(verdict) = wins.or(fits).or(of_rule.first()) {
            let verdict = match *verdict {
                Verdict::Outranked { winner, by } => Verdict::Outranked {
                    winner: owner_of(&config.rules, winner),
                    by,
                },
                other => other,
            };
            terminal::say(format_args!("{}: {verdict}", shown(index, rule)));
        }
    }
    let wins = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Wins));
    if !wins {
        terminal::say(format_args!("no rule is for it: {}", otherwise(&config)));
    }
    Ok(if wins {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The place of the rule that these conditions belong to, of all conditions of all rules.
fn owner_of(rules: &[RuleConfig], conditions: usize) -> usize {
    let mut before = 0;
    let ends = rules.iter().map(|rule| {
        before += rule.conditions.len();
        before
    });
    ends.take_while(|end| *end <= conditions).count()
}

/// Its place, its name, and its group.
fn shown(index: usize, rule: &RuleConfig) -> String {
    format!("rules[{index}] {:?} (group {})", rule.name, rule.group)
}

/// Where a request goes that no rule is for.
fn otherwise(config: &ServerConfig) -> String {
    let ends = config.entries.iter().filter_map(|entry| match &entry.kind {
        adit::entry::Kind::Tcp => None,
        adit::entry::Kind::Http(options) if options.falls_back => Some(format!(
            "`{}` sends it to the group `{}`",
            entry.name, entry.group
        )),
        adit::entry::Kind::Http(_) => Some(format!("`{}` answers it with 404", entry.name)),
    });
    let ends: Vec<_> = ends.collect();
    match ends.is_empty() {
        true => "there is no entry of `kind: http`".to_owned(),
        false => ends.join(", "),
    }
}
