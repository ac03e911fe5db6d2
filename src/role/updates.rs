//! What may change while a forwarder runs: follows its configuration and the file of its candidates.

use tracing::{info, warn};

use crate::{
    candidates::{self, Candidate},
    config::{ForwardConfig, GroupConfig},
    env::Env,
    files::text,
    follow::Follow,
};

/// What is different from now on. `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// All candidates there are now.
    pub candidates: Option<Vec<Candidate>>,
    /// How they are chosen, probed, scored and kept warm.
    pub group: Option<GroupConfig>,
}

/// Follows the files of a forwarder.
#[derive(Debug)]
pub struct Updates {
    env: Env,
    config: ForwardConfig,
    file: Option<Follow<ForwardConfig>>,
    list: Option<Follow<Vec<Candidate>>>,
}

impl Updates {
    /// Follows what `config` came from; without files nothing ever changes.
    pub fn new(config: ForwardConfig, env: Env) -> Self {
        let file = config.origin.clone().map(|origin| {
            // What is parsed names the candidates' file, and does not read it.
            let mut parsed = config.clone();
            parsed.candidates.listed.clear();
            let path = origin.path.clone();
            Follow::new(env.clone(), path, parsed, move |content| origin.read(content))
        });
        let list = follow_list(&config, &env);
        Self {
            env,
            config,
            file,
            list,
        }
    }

    /// Waits for the next change that concerns a running forwarder. Cancel safe.
    pub async fn next(&mut self) -> Update {
        loop {
            let update = tokio::select! {
                biased;
                config = next(&mut self.file) => self.reconfigure(config),
                listed = next(&mut self.list) => self.relist(listed),
            };
            if update != Update::default() {
                return update;
            }
        }
    }

    fn reconfigure(&mut self, new: ForwardConfig) -> Update {
        for key in restart_keys(&self.config, &new) {
            warn!(
                key,
                "changed in the file: it needs a restart, what runs stays as it is"
            );
        }
        let mut update = Update::default();
        if new.group != self.config.group {
            self.config.group = new.group.clone();
            update.group = Some(new.group);
        }
        let before = self.config.candidates.all();
        let moved = new.candidates.file != self.config.candidates.file;
        self.config.candidates.inline = new.candidates.inline;
        if moved {
            self.config.candidates.file = new.candidates.file;
            if self.config.candidates.file.is_none() {
                self.config.candidates.listed.clear();
            }
            // Until the other file is read, what the old one listed stays.
            self.list = follow_list(&self.config, &self.env);
        }
        let after = self.config.candidates.all();
        update.candidates = (after != before).then_some(after);
        info!(
            group = update.group.is_some(),
            candidates = update.candidates.is_some(),
            "configuration read anew"
        );
        update
    }

    fn relist(&mut self, listed: Vec<Candidate>) -> Update {
        let before = self.config.candidates.all();
        self.config.candidates.listed = listed;
        let after = self.config.candidates.all();
        Update {
            candidates: (after != before).then_some(after),
            group: None,
        }
    }
}

fn follow_list(config: &ForwardConfig, env: &Env) -> Option<Follow<Vec<Candidate>>> {
    let path = config.candidates.file.clone()?;
    let name = path.display().to_string();
    let parse = move |content: &[u8]| {
        let text = text::decode(content).map_err(|error| error.to_string())?;
        candidates::parse(&text, &name).map_err(|error| error.to_string())
    };
    let current = config.candidates.listed.clone();
    Some(Follow::new(env.clone(), path, current, parse))
}

async fn next<T: Clone + PartialEq + Send + 'static>(follow: &mut Option<Follow<T>>) -> T {
    match follow {
        Some(follow) => follow.next().await,
        None => std::future::pending().await,
    }
}

/// The keys that differ and are read at the start only.
fn restart_keys(old: &ForwardConfig, new: &ForwardConfig) -> Vec<&'static str> {
    let changed = [
        ("server.listen_addr", old.listen != new.listen),
        ("session", old.session != new.session),
        ("limits", old.limits != new.limits),
        ("admin", old.admin != new.admin),
        ("metrics", old.metrics != new.metrics),
        ("drain", old.drain != new.drain),
        ("logging", old.logging != new.logging),
    ];
    changed
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(key, _)| key)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        config::{ForwardFlags, Origin, Source, parse_forward},
        env::Stop,
        files::Memory,
        selector::Strategy,
        time::{self, Duration},
    };

    const FILE: &str = "/etc/f.yaml";
    const LIST: &str = "/etc/c.txt";

    fn nothing(_: &str) -> Option<String> {
        None
    }

    async fn next(updates: &mut Updates) -> Update {
        let news = time::within(Duration::from_secs(20), updates.next()).await;
        news.expect("an update comes in time")
    }

    fn shown(update: &Update) -> Vec<String> {
        let all = update.candidates.as_ref().expect("candidates changed");
        all.iter().map(|c| format!("{}*{}", c.place, c.weight)).collect()
    }

    #[test]
    fn both_files_are_followed() {
        let text = "candidates: { addresses: [\"a:1\"], file: c.txt }\n";
        let files = Memory::default();
        files.write(FILE, text);
        files.write(LIST, "b:1\n");
        let source = Source::parse_named(Path::new(FILE), text).unwrap();
        let mut config = parse_forward(&source, &ForwardFlags::default(), &nothing)
            .unwrap()
            .config;
        config.candidates.listed = candidates::parse("b:1\n", LIST).unwrap();
        config.origin = Some(Origin {
            path: FILE.into(),
            flags: ForwardFlags::default(),
            env: nothing,
        });
        let (_stopper, stop) = Stop::channel();
        let env = Env {
            files: Arc::new(files.clone()),
            ..Env::production(stop)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut updates = Updates::new(config, env);
            assert_eq!(time::within(Duration::from_secs(1), updates.next()).await, None);

            files.write(LIST, "b:1 weight=2\n[::1]:1\n");
            assert_eq!(shown(&next(&mut updates).await), ["[::1]:1*1", "a:1*1", "b:1*2"]);

            files.write(LIST, "b:1\nwhat\n");
            files.write(
                FILE,
                format!("{text}balance: p2c\nserver: {{ listen_addr: \":9\" }}\n"),
            );
            let update = next(&mut updates).await;
            assert_eq!(update.group.unwrap().balance, Strategy::PowerOfTwo);
            assert_eq!(update.candidates, None, "a bad list changes nothing");

            files.write("/etc/d.txt", "d:1\n");
            files.write(FILE, "balance: p2c\ncandidates: { file: d.txt }\n");
            let update = next(&mut updates).await;
            assert_eq!(update.group, None);
            assert_eq!(
                shown(&update),
                ["[::1]:1*1", "b:1*2"],
                "the old list stays until the new one is read"
            );
            assert_eq!(shown(&next(&mut updates).await), ["d:1*1"]);
        });
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let config = |keys: &str| {
            let text = format!("candidates: {{ addresses: [\"a:1\"] }}\n{keys}");
            let source = Source::parse_named(Path::new(FILE), &text).unwrap();
            parse_forward(&source, &ForwardFlags::default(), &nothing)
                .unwrap()
                .config
        };
        let check = |keys: &str, expected: &[&str]| {
            assert_eq!(restart_keys(&config(""), &config(keys)), expected, "{keys}");
        };
        check("balance: random\npools: { min: 1 }", &[]);
        check("server: { listen_addr: \":9\" }", &["server.listen_addr"]);
        check("session: { start_timeout: 1s }", &["session"]);
        check("limits: { waiting: 1 }", &["limits"]);
        check(
            "admin: { listen: \":1\" }\nmetrics: { listen: off }",
            &["admin", "metrics"],
        );
        check(
            "drain: { timeout: 1s }\nlogging: { level: debug }",
            &["drain", "logging"],
        );
    }
}
