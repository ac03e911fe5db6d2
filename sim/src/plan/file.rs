//! Plans as files: JSON that a person can read and change, with one fault, one stranger and one visit per line.

use std::{fs, path::Path};

use anyhow::{Context, anyhow};
use serde::Serialize;

use super::Plan;

/// Reads a plan.
///
/// # Errors
/// Says the file and, when it is not a plan, the line, the column and what was expected there.
pub fn read(path: &Path) -> anyhow::Result<Plan> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("{name}: cannot be read"))?;
    parse(&text).map_err(|what| anyhow!("{name}:{what}"))
}

/// Parses and checks a plan. An error begins with `line:column: ` when it has a place, else with a blank.
fn parse(text: &str) -> Result<Plan, String> {
    let plan: Plan = serde_json::from_str(text).map_err(|error| {
        let words = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let words = words.strip_suffix(&place).unwrap_or(&words);
        format!("{}:{}: {words}", error.line(), error.column())
    })?;
    plan.check().map_err(|what| format!(" {what}"))?;
    Ok(plan)
}

/// A plan as text.
pub fn text(plan: &Plan) -> String {
    // A new field of a plan does not compile before it has its place here.
    let Plan {
        scenario,
        seed,
        duration_ms,
        heal_ms,
        quiet_ms,
        last_visit_ms,
        knobs,
        clients,
        offers,
        second_server,
        forward,
        web,
        faults,
        strangers,
        visitors,
        planted,
    } = plan;
    let visitors: Vec<_> = visitors.iter().map(|visits| lines(visits, 4)).collect();
    let visitors = block(visitors, 2);
    let mut fields = vec![
        ("scenario", json(scenario)),
        ("seed", json(seed)),
        ("duration_ms", json(duration_ms)),
        ("heal_ms", json(heal_ms)),
        ("quiet_ms", json(quiet_ms)),
        ("last_visit_ms", json(last_visit_ms)),
        ("knobs", knobs.to_string()),
        ("clients", json(clients)),
        ("faults", lines(faults, 2)),
        ("strangers", lines(strangers, 2)),
        ("visitors", visitors),
    ];
    fields.extend(forward.as_ref().map(|forward| ("forward", json(forward))));
    if !offers.is_empty() {
        fields.push(("offers", json(offers)));
    }
    if *second_server {
        fields.push(("second_server", json(second_server)));
    }
    fields.extend(web.as_ref().map(|web| ("web", json(web))));
    fields.extend(planted.as_ref().map(|name| ("planted", json(name))));
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| format!("  \"{name}\": {value}"))
        .collect();
    format!("{{\n{}\n}}\n", fields.join(",\n"))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what a plan holds can always be written")
}

fn lines(items: &[impl Serialize], indent: usize) -> String {
    block(items.iter().map(json).collect(), indent)
}

/// A list with an item per line.
fn block(items: Vec<String>, indent: usize) -> String {
    if items.is_empty() {
        return "[]".to_owned();
    }
    let margin = " ".repeat(indent);
    let items = items.join(&format!(",\n{margin}  "));
    format!("[\n{margin}  {items}\n{margin}]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::draw::{SCENARIOS, scenario};

    #[test]
    fn a_plan_that_was_written_is_read_as_it_was() {
        for scenario in SCENARIOS {
            for seed in 0..100 {
                let mut plan = (scenario.draw)(seed);
                plan.planted = (seed == 7).then(|| crate::mutants::table::PLANTED[0].name.to_owned());
                assert_eq!(parse(&text(&plan)), Ok(plan));
            }
        }
    }

    #[test]
    fn a_line_holds_one_fault_or_one_visit() {
        let mut plan = (scenario("chaos").unwrap().draw)(1);
        plan.visitors.iter_mut().for_each(|visits| visits.truncate(3));
        let text = text(&plan);
        let holding = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!(holding("\"act\""), plan.faults.len());
        assert_eq!(holding("\"manner\""), 3 * plan.visitors.len());
    }

    #[test]
    fn an_error_says_where_and_what_was_expected() {
        let good = text(&(scenario("calm").unwrap().draw)(1));
        let check = |from: &str, to: &str, expected: &str| {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good);
            let found = parse(&text).unwrap_err();
            assert!(found.contains(expected), "{found:?} instead of {expected:?}");
        };
        check(
            "\"seed\": 1",
            "\"seed\": \"one\"",
            "3:15: invalid type: string \"one\", expected u64",
        );
        check("\"faults\": []", "\"faults\": [1]", "10:14: invalid type");
        check(
            "\"heal_ms\"",
            "\"heel_ms\"",
            "5:11: unknown field `heel_ms`, expected one of",
        );
        check(
            "\"knobs\": {}",
            "\"knobs\": {\"mut\": 1}",
            "unknown field `mut`, expected one of `latency_ms`",
        );
        check("  \"seed\": 1,\n", "", "missing field `seed`");
        check(
            "\"heal_ms\": 20000",
            "\"heal_ms\": 70000",
            " heal_ms: 70000 is later than duration_ms, 60000",
        );
    }
}
