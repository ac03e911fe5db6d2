//! Which client may hold which id, serve which groups, with which secret.

use crate::{
    id::{ClientId, GroupName},
    probe::mutant,
    wire::proof::Token,
};

/// One line of `auth.clients`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The id it speaks of; `None` is `"*"`: any id without a rule of its own.
    pub id: Option<ClientId>,
    /// The groups it may serve; `None` is every group.
    pub groups: Option<Vec<GroupName>>,
    /// The secret to prove.
    pub token: Token,
}

/// All rules. An id's own rule wins over `"*"`; without either the id is unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auth {
    rules: Vec<Rule>,
}

impl Auth {
    /// The rules as configured.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// One secret for any id and every group.
    pub fn single(token: Token) -> Self {
        Self::new(vec![Rule {
            id: None,
            groups: None,
            token,
        }])
    }

    /// Whether some client may come in without a secret.
    pub fn is_open(&self) -> bool {
        self.rules.iter().any(|rule| rule.token.is_anonymous())
    }

    /// The rule for `id`.
    pub fn rule(&self, id: &ClientId) -> Option<&Rule> {
        let own = self.rules.iter().find(|rule| rule.id.as_ref() == Some(id));
        own.or_else(|| self.rules.iter().find(|rule| rule.id.is_none()))
    }

    /// Whether `id` may serve `group`.
    pub fn allows(&self, id: &ClientId, group: &GroupName) -> bool {
        let permits = |rule: &Rule| rule.groups.as_ref().is_none_or(|groups| groups.contains(group));
        let anybody = || self.rules.iter().any(|rule| rule.id.is_none() && permits(rule));
        self.rule(id)
            .is_some_and(|rule| permits(rule) || anybody() && mutant!("wildcard-widens-own-rule"))
    }
}
