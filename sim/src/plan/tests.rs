//! When what has silently died is found out.

use super::draw::scenario;

#[test]
fn who_was_held_up_finds_a_dead_connection_later() {
    let mut plan = (scenario("smoke").unwrap().draw)(1);
    let faults = r#"[
        {"from_ms":44000,"to_ms":50000,"act":{"black-hole":{"flow":{"who":"client-2","port":7001,"nth":2}}}},
        {"from_ms":45000,"to_ms":56000,"act":{"pause":{"who":"client-2"}}}
    ]"#;
    plan.faults = serde_json::from_str(faults).unwrap();
    assert_eq!(plan.silence_found().as_millis(), 81_000);
    plan.faults.pop();
    assert_eq!(plan.silence_found().as_millis(), 74_000);
}
