//! The hosts that a fault names, whatever kind it is: every kind spells them alike in a plan file, as
//! `"client-1"` or, for the service behind a client, as `"upstream": 0`.

use serde_json::Value;

use super::who::Who;
use crate::fault::AnyAct;

/// Every host that `act` names.
pub fn named(act: &AnyAct) -> Vec<Who> {
    let mut found = Vec::new();
    renamed(act, &mut |who| {
        found.push(who);
        Some(who)
    });
    found
}

/// The same done to other hosts. `None` when one has no new name, unless it is one of a list of clients that
/// has others.
pub fn renamed(act: &AnyAct, rename: &mut dyn FnMut(Who) -> Option<Who>) -> Option<AnyAct> {
    let value = serde_json::to_value(act).ok()?;
    serde_json::from_value(walk("", value, rename)?).ok()
}

fn walk(key: &str, value: Value, rename: &mut dyn FnMut(Who) -> Option<Who>) -> Option<Value> {
    match value {
        Value::String(text) => match text.parse() {
            Ok(who) => Some(Value::String(rename(who)?.to_string())),
            Err(_) => Some(Value::String(text)),
        },
        Value::Number(number) if key == "upstream" => {
            let n = usize::try_from(number.as_u64()?).ok()?;
            match rename(Who::Upstream(n))? {
                Who::Upstream(n) => Some(Value::from(n)),
                _ => None,
            }
        }
        Value::Array(each) if key == "clients" => {
            let left: Vec<_> = each.into_iter().filter_map(|one| walk("", one, rename)).collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        Value::Array(each) => {
            let all: Option<Vec<_>> = each.into_iter().map(|one| walk("", one, rename)).collect();
            all.map(Value::Array)
        }
        Value::Object(fields) => {
            let all: Option<_> = fields
                .into_iter()
                .map(|(key, value)| walk(&key, value, rename).map(|value| (key, value)))
                .collect();
            all.map(Value::Object)
        }
        plain => Some(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::draw::scenario;

    fn act(text: &str) -> AnyAct {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn hosts_are_found_wherever_a_fault_names_them() {
        let check = |text: &str, expected: &[Who]| assert_eq!(named(&act(text)), expected, "{text}");
        check(r#"{"crash": {"who": "client-2"}}"#, &[Who::Client(1)]);
        check(
            r#"{"lag": {"between": ["visitor-1", "server"], "more_ms": 7}}"#,
            &[Who::Visitor(0), Who::Server],
        );
        check(
            r#"{"split": {"clients": ["client-1", "client-3"]}}"#,
            &[Who::Client(0), Who::Client(2)],
        );
        check(
            r#"{"ail": {"upstream": 1, "mood": "hangs"}}"#,
            &[Who::Upstream(1)],
        );
        check(
            r#"{"black-hole": {"flow": {"who": "client-1", "port": 9, "nth": 0}}}"#,
            &[Who::Client(0)],
        );
    }

    #[test]
    fn what_is_done_to_a_lost_host_is_not_done_but_a_list_may_get_shorter() {
        let mut lost = |who| (who != Who::Client(0)).then_some(who);
        assert_eq!(
            renamed(&act(r#"{"crash": {"who": "client-1"}}"#), &mut lost),
            None
        );
        let split = act(r#"{"split": {"clients": ["client-1", "client-3"]}}"#);
        let shorter = act(r#"{"split": {"clients": ["client-3"]}}"#);
        assert_eq!(renamed(&split, &mut lost), Some(shorter));
        assert_eq!(
            renamed(&act(r#"{"split": {"clients": ["client-1"]}}"#), &mut lost),
            None
        );
    }

    #[test]
    fn a_fault_whose_hosts_keep_their_names_is_the_same() {
        for seed in 0..200 {
            for fault in (scenario("chaos").unwrap().draw)(seed).faults {
                assert_eq!(renamed(&fault.act, &mut Some), Some(fault.act));
            }
        }
    }
}
