//! Rules with several hosts, and lists of plugins that have a name.

use super::*;
use crate::plugin::Options as Plugin;

#[test]
fn a_rule_has_one_host_or_several() {
    let hosts = |host: &str| {
        let checked = yaml_server(&format!("rules: [{{ host: {host}, method: GET, priority: 2 }}]"))?;
        let conditions = &checked.config.rules[0].conditions;
        assert!(
            conditions
                .iter()
                .all(|one| one.methods.len() == 1 && one.priority == 2)
        );
        Ok::<_, ConfigError>(conditions.iter().map(|one| one.host.clone()).collect::<Vec<_>>())
    };
    let pattern = |text: &str| text.parse().unwrap();
    assert_eq!(hosts("a.example").unwrap(), [pattern("a.example")]);
    assert_eq!(
        hosts("[a.example, \"*.b.example\"]").unwrap(),
        [pattern("a.example"), pattern("*.b.example")]
    );
    assert_eq!(hosts("").unwrap(), [pattern("*")]);
    says(
        hosts("[]"),
        "f.yaml:1: key `rules[0].host`: the list is empty, so no request would fit",
    );
    assert!(hosts("[a, \"b c\"]").is_err());
}

#[test]
fn lists_of_plugins_are_used_by_name() {
    let text = "rules:\n  - plugins: [ { strip_prefix: /a }, { use: common }, { body_limit: 1KB } ]\n\
                \x20 - plugins: [ { use: common } ]\n\
                plugins:\n  common: [ { remove_header: X-A }, { remove_header: X-B } ]\n";
    let config = yaml_server(text).unwrap().config;
    let names = |index: usize| {
        config.rules[index]
            .plugins
            .iter()
            .map(Plugin::name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(0),
        ["strip_prefix", "remove_header", "remove_header", "body_limit"]
    );
    assert_eq!(names(1), ["remove_header", "remove_header"]);
}

#[test]
fn a_list_of_plugins_that_cannot_be_says_where() {
    let with = |list: &str, rule: &str| {
        yaml_server(&format!(
            "rules:\n  - plugins: [ {rule} ]\nplugins:\n  common: [ {list} ]\n"
        ))
    };
    says(
        with("{ bearer: { tokens: short } }", "{ use: common }"),
        "f.yaml:4: key `plugins.common[0].bearer`: a token has 5 bytes, at least 16 are needed",
    );
    says(
        with("{ use: common }", "{ use: common }"),
        "f.yaml:4: key `plugins.common[0].use`: a list that has a name cannot use another one",
    );
    says(
        with("{ strip_prefix: /a }", "{ use: comon }"),
        "f.yaml:2: key `rules[0].plugins[0].use`: there is no list `plugins.comon` at the top of the file, did you \
         mean `common`?",
    );
    says(
        with("{ strip_prefix: /a }", "{ use: common, strip_prefix: /b }"),
        "f.yaml:2: key `rules[0].plugins[0]`: expected one plugin, found several: each is an element of its own",
    );
    let unused = with("{ strip_prefix: /a }", "{ strip_prefix: /b }")
        .unwrap()
        .warnings;
    assert!(
        unused.contains(&"f.yaml:4: `plugins.common`: no rule uses this list".to_owned()),
        "{unused:?}"
    );
}

#[test]
fn a_rule_without_a_name_is_called_after_what_it_asks_for() {
    let names = |rules: &str| {
        let config = yaml_server(&format!("rules: [{rules}]")).unwrap().config;
        config.rules.into_iter().map(|rule| rule.name).collect::<Vec<_>>()
    };
    let rules = "{ host: a.example, path: /v1 }, { host: [b.example, c.example], method: [GET, HEAD] }, \
                 { path: /x, headers: { x-beta: present } }, { grpc: p.Service }, { priority: 1 }";
    let expected = [
        "a.example/v1",
        "GET,HEAD b.example,c.example",
        "/x x-beta",
        "/p.Service",
        "*",
    ];
    assert_eq!(names(rules), expected);
    let before = names(&format!("{{ path: /new }}, {rules}"));
    assert_eq!(before[1..], expected, "a rule in front of it changes no name");
    let same = "{ path: /x }, { path: /x, priority: 1 }, { name: \"/x #2\", path: /y }";
    assert_eq!(names(same), ["/x", "/x #3", "/x #2"]);
    let long = format!("{{ path: /{} }}", "x".repeat(300));
    assert_eq!(names(&long)[0].len(), 128);
}
