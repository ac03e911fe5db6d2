//! A run as one page for a browser: hosts as lanes on an axis of simulated time, on them what was done to each
//! and what came of it, below them every event.
//!
//! The page needs nothing but itself: style, script and data are inside. Here the data is gathered; everything
//! that is seen is made of it by the scripts of this folder.

mod data;
mod touch;

use crate::runner::Report;

/// In the order in which they are needed.
const SCRIPTS: &[&str] = &[
    include_str!("js/words.js"),
    include_str!("js/run.js"),
    include_str!("js/lives.js"),
    include_str!("js/filter.js"),
    include_str!("js/layout.js"),
    include_str!("js/colours.js"),
    include_str!("js/marks.js"),
    include_str!("js/chart.js"),
    include_str!("js/frame.js"),
    include_str!("js/overview.js"),
    include_str!("js/details.js"),
    include_str!("js/panel.js"),
    include_str!("js/list.js"),
    include_str!("js/head.js"),
    include_str!("js/hands.js"),
    include_str!("js/main.js"),
];

/// The page of a run, which offers the `command` that makes it again.
pub fn page(report: &Report, command: &str) -> String {
    fill(include_str!("page.html"), |mark| match mark {
        "title" => escaped(&format!("{} seed {}", report.plan.scenario, report.plan.seed)),
        "style" => include_str!("page.css").to_owned(),
        "data" => embeddable(&data::of(report, command)),
        "script" => SCRIPTS.concat(),
        _ => unreachable!("page.html has no other marks: {mark}"),
    })
}

/// `template` with each `{{mark}}` replaced. What is put in is not looked at again.
fn fill(template: &str, of: impl Fn(&str) -> String) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (mark, after) = after.split_once("}}").expect("page.html closes its marks");
        page.push_str(before);
        page.push_str(&of(mark));
        rest = after;
    }
    page + rest
}

/// JSON that cannot end the element it stands in: `<` occurs only inside strings, and may be escaped there.
fn embeddable(data: &serde_json::Value) -> String {
    data.to_string().replace('<', "\\u003c")
}

/// Text as text of the page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_not_looked_at_again() {
        let filled = fill("a {{b}} c {{d}}", |mark| format!("<{mark} {{{{b}}}}>"));
        assert_eq!(filled, "a <b {{b}}> c <d {{b}}>");
    }

    #[test]
    fn data_cannot_end_its_element() {
        let hostile = serde_json::json!({ "what": "</script><!-- <script>" });
        let text = embeddable(&hostile);
        assert!(!text.contains('<'), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), hostile);
    }
}
