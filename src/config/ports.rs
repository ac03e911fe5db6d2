//! Which addresses a node listens on, and whether it may.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{ConfigError, ServerFlags, address, load::Source, tree::KeyPath};
use crate::{id::EntryName, registry::auth::Auth};

/// The listening addresses so far, and what may be bound.
pub(super) struct Ports<'a> {
    source: &'a Source,
    bind: IpAddr,
    open: bool,
    insecure: bool,
    /// Of a check alone: what a server would refuse to open without a secret.
    needs_secret: Option<IpAddr>,
    only_check: bool,
    taken: Taken<'a>,
}

/// The listening addresses so far, and whose they are.
pub(super) struct Taken<'a> {
    source: &'a Source,
    addresses: Vec<(SocketAddr, String)>,
}

/// The word for not listening at all.
const OFF: &str = "off";

impl<'a> Taken<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self {
            source,
            addresses: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, listen: SocketAddr, owner: &str) {
        self.addresses.push((listen, owner.to_owned()));
    }

    fn clash(&self, listen: SocketAddr) -> Option<String> {
        let (addr, owner) = self
            .addresses
            .iter()
            .find(|(addr, _)| address::conflict(*addr, listen))?;
        Some(format!("{listen} is taken by {owner} ({addr})"))
    }

    /// The address of `admin.listen` or `metrics.listen`: `off`, an address, or `:PORT` on this machine.
    pub(super) fn side(
        &mut self,
        text: Option<String>,
        name: &str,
        default: Option<SocketAddr>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        let at = KeyPath::new(name).key("listen");
        let listen = match text.as_deref().map(str::trim) {
            None => default,
            Some(OFF) => None,
            Some(text) => Some(
                address::listen(text, Ipv4Addr::LOCALHOST.into())
                    .map_err(|message| self.source.key_error(&at, format!("{message} (or `{OFF}`)")))?,
            ),
        };
        let Some(listen) = listen else {
            return Ok(None);
        };
        if let Some(message) = self.clash(listen) {
            return Err(match text {
                Some(_) => self.source.key_error(&at, message),
                None => ConfigError::Whole(format!("`{at}` (default {listen}): {message}")),
            });
        }
        if !listen.ip().is_loopback() {
            let place = self.source.place(&at);
            warnings.push(format!(
                "{place}: {listen} is not loopback: whoever reaches it needs no secret"
            ));
        }
        self.put(listen, &format!("`{at}`"));
        Ok(Some(listen))
    }
}

impl<'a> Ports<'a> {
    /// What `bind` comes to. Without a secret it is loopback, and nothing else unless `--insecure` is given.
    pub(super) fn new(
        file: Option<String>,
        flags: &ServerFlags,
        source: &'a Source,
        auth: &Auth,
    ) -> Result<Self, ConfigError> {
        let at = KeyPath::new("bind");
        let open = auth.is_open();
        let (bind, chosen_by) = if let Some(text) = &flags.bind {
            let flag = "--bind";
            let bind = address::bind(text).map_err(|message| ConfigError::Flag { flag, message })?;
            (bind, Some(flag.to_owned()))
        } else if let Some(text) = file {
            let bind = address::bind(&text).map_err(|message| source.key_error(&at, message))?;
            (bind, Some(source.place(&at)))
        } else if open {
            (Ipv4Addr::LOCALHOST.into(), None)
        } else {
            (Ipv4Addr::UNSPECIFIED.into(), None)
        };
        let insecure = flags.insecure || flags.only_check;
        if let Some(what) = &chosen_by
            && open
            && !insecure
            && !bind.is_loopback()
        {
            let what = format!("{what} {bind}");
            return Err(ConfigError::Insecure { what });
        }
        Ok(Self {
            source,
            needs_secret: (!bind.is_loopback()).then_some(bind),
            bind,
            open,
            insecure,
            only_check: flags.only_check && !flags.insecure,
            taken: Taken::new(source),
        })
    }

    /// One of the three ports that have a flag and a key `NAME.port`.
    pub(super) fn open(
        &mut self,
        flag: Option<u16>,
        flag_name: &'static str,
        key: Option<u16>,
        name: &str,
        default: u16,
    ) -> Result<SocketAddr, ConfigError> {
        let listen = SocketAddr::new(self.bind, flag.or(key).unwrap_or(default));
        let at = KeyPath::new(name).key("port");
        // The proxy port may be the control port: a preamble tells the two apart.
        let shared = name == "proxy"
            && self
                .taken
                .addresses
                .first()
                .is_some_and(|(control, _)| *control == listen);
        let clash = self.taken.clash(listen).filter(|_| !shared);
        if let Some(message) = clash {
            return Err(if flag.is_some() {
                ConfigError::Flag {
                    flag: flag_name,
                    message,
                }
            } else if key.is_some() {
                self.source.key_error(&at, message)
            } else {
                ConfigError::Whole(format!("the {name} port (default {default}): {message}"))
            });
        }
        self.taken.put(listen, &format!("the {name} port"));
        Ok(listen)
    }

    /// The address of an element of `entries`.
    pub(super) fn entry(
        &mut self,
        text: &str,
        at: &KeyPath,
        name: &EntryName,
    ) -> Result<SocketAddr, ConfigError> {
        let listen =
            address::listen(text, self.bind).map_err(|message| self.source.key_error(at, message))?;
        if self.open && !self.insecure && !listen.ip().is_loopback() {
            let what = format!("{} {listen}", self.source.place(at));
            return Err(ConfigError::Insecure { what });
        }
        if !listen.ip().is_loopback() {
            self.needs_secret.get_or_insert(listen.ip());
        }
        if let Some(message) = self.taken.clash(listen) {
            return Err(self.source.key_error(at, message));
        }
        self.taken.put(listen, &format!("the entry `{name}`"));
        Ok(listen)
    }

    /// The addresses so far, for those that open beside them.
    pub(super) fn taken(&mut self) -> &mut Taken<'a> {
        &mut self.taken
    }

    /// Says who may register when no secret is asked for.
    pub(super) fn warn_of_openness(&self, warnings: &mut Vec<String>) {
        let bind = self.bind;
        if let (true, true, Some(address)) = (self.open, self.only_check, self.needs_secret) {
            warnings.push(format!(
                "no secret: a server opens {address} only with one (--token-file, ADIT_TOKEN or `auth`)"
            ));
        } else if self.open && bind.is_loopback() {
            warnings.push(format!(
                "no secret: whoever is on this machine may register, others cannot reach {bind}"
            ));
        } else if self.open {
            warnings.push(format!(
                "no secret: ANYBODY who reaches {bind} may register (--insecure)"
            ));
        }
    }
}
