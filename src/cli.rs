//! The command line. The doc comments are the help.

use std::path::{Path, PathBuf};

use adit::config::{
    ClientFlags, Format, ForwardFlags, LoggingFlags, Role, SERVER_ADMIN, ServerFlags,
    value::{Level, LogFormat},
};
use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};

/// A reverse tunnel and TCP forwarder: reach services behind NAT, or the best of many addresses.
#[derive(Debug, Parser)]
#[command(name = "adit", version, propagate_version = true, disable_help_subcommand = true, after_help = EXAMPLE)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to log.
    #[command(flatten)]
    pub logging: LoggingArgs,
}

const EXAMPLE: &str = "\
The smallest tunnel, on one machine:
  adit server
  adit client --client-id a --local 127.0.0.1:3000
  curl http://127.0.0.1:8080/

Over the internet, with a secret of at least 16 bytes (openssl rand -hex 32 > token):
  adit server --token-file token                                           # on the public machine
  adit client --client-id a --server HOST --local 3000 --token-file token  # behind NAT

A forwarder to the best of some addresses, without a tunnel:
  adit forward --candidate 192.0.2.1:443 --candidate 192.0.2.2:443

Exit codes: 0 done, 1 failed while running (or not ready), 2 wrong usage or configuration.
Every key of the files is described in docs/configuration.md.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the public side: take clients and visitors.
    #[command(after_help = SERVER_EXAMPLE)]
    Server(ServerArgs),
    /// Run the side behind NAT: connect to the server and serve local services.
    #[command(after_help = CLIENT_EXAMPLE)]
    Client(ClientArgs),
    /// Run a TCP forwarder: send each visitor to one of the best of many addresses.
    #[command(after_help = FORWARD_EXAMPLE)]
    Forward(ForwardArgs),
    /// Parse and check a configuration file; an error names its file, line and key.
    #[command(after_help = CHECK_EXAMPLE)]
    Check(CheckArgs),
    /// Print the hash of a password, for `users` of the plugin `basic_auth`.
    #[command(after_help = HASH_EXAMPLE)]
    HashPassword,
    /// Say which rule of a server's file a request falls under, and why.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Ask a running node whether it is ready; exits with 0 if it is, with 1 if not.
    #[command(after_help = HEALTH_EXAMPLE)]
    Health(HealthArgs),
    /// Run a server, two clients and sample services in one process, and say what to open.
    Demo(DemoArgs),
}

const SERVER_EXAMPLE: &str = "\
Examples:
  adit server                                    # loopback only: there is no secret
  ADIT_TOKEN=$(cat token) adit server            # every address, clients need the secret
  adit server -c server.yaml --log-format json

A secret comes from --token-file, from `auth` in the file, or from ADIT_TOKEN; never from an argument.";

const CLIENT_EXAMPLE: &str = "\
Examples:
  adit client --client-id a --local 127.0.0.1:3000
  adit client --client-id a --server tunnel.example.com --local 3000 --token-file token
  adit client -c client.yaml";

const FORWARD_EXAMPLE: &str = "\
Examples:
  adit forward --candidate 192.0.2.1:443 --candidate 192.0.2.2:443
  adit forward --listen 127.0.0.1:5432 --candidate 'db.example.com:5432 weight=2' --candidate 10.0.0.0/28:5432
  adit forward -c config.yaml

Visitors come in on --listen. Candidates are measured all the time, and the best of them are used.";

const HEALTH_EXAMPLE: &str = "\
Examples:
  adit health
  adit health --admin 127.0.0.1:7501

It asks for /readyz where the node's `admin.listen` is; a server has that on 127.0.0.1:7500 by default.";

const HASH_EXAMPLE: &str = "\
Examples:
  adit hash-password                 # asks twice, and shows nothing of what is typed
  adit hash-password < password.txt  # the one line of a file";

const CHECK_EXAMPLE: &str = "\
Examples:
  adit check server.yaml
  adit check -c server.yaml
  render-config | adit check -c - --format toml
  adit check -c config.yaml --role forward";

/// Flags of every subcommand.
#[derive(Args, Clone, Copy, Debug)]
pub struct LoggingArgs {
    /// Least important messages to log [default: info]; RUST_LOG wins
    #[arg(long, global = true, help_heading = "Logging", value_name = "LEVEL", value_parser = words::<Level>(Level::WORDS))]
    log_level: Option<Level>,
    /// How log lines look [default: text]
    #[arg(long, global = true, help_heading = "Logging", value_name = "FORMAT", value_parser = words::<LogFormat>(LogFormat::WORDS))]
    log_format: Option<LogFormat>,
}

impl From<LoggingArgs> for LoggingFlags {
    fn from(args: LoggingArgs) -> Self {
        Self {
            level: args.log_level,
            format: args.log_format,
        }
    }
}

/// Flags of `adit server`.
#[derive(Args, Debug)]
pub struct ServerArgs {
    /// Configuration file, .yaml or .toml, or `-` for standard input; flags win over it
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the file is to be read, whatever its ending [default: what the ending says]
    #[arg(long, value_name = "FORMAT", value_parser = words::<Format>(Format::WORDS))]
    format: Option<Format>,
    /// Address to open ports on [default: 0.0.0.0 with a secret, 127.0.0.1 without]
    #[arg(long, value_name = "ADDR")]
    bind: Option<String>,
    /// Port where clients connect [default: 7000]
    #[arg(long, value_name = "PORT")]
    control_port: Option<u16>,
    /// Port where proxy connections come in, may be the control port [default: 7001]
    #[arg(long, value_name = "PORT")]
    proxy_port: Option<u16>,
    /// Port where visitors come in [default: 8080]
    #[arg(long, value_name = "PORT")]
    public_port: Option<u16>,
    /// File that holds the secret every client must prove
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Allow other addresses than loopback without a secret: anybody may register
    #[arg(long)]
    insecure: bool,
}

impl ServerArgs {
    /// The flags as the configuration takes them.
    pub fn flags(self, logging: LoggingArgs) -> ServerFlags {
        ServerFlags {
            bind: self.bind,
            control_port: self.control_port,
            proxy_port: self.proxy_port,
            public_port: self.public_port,
            token_file: self.token_file,
            insecure: self.insecure,
            only_check: false,
            format: self.format,
            logging: logging.into(),
        }
    }
}

/// Flags of `adit client`.
#[derive(Args, Debug)]
pub struct ClientArgs {
    /// Configuration file, .yaml or .toml, or `-` for standard input; flags win over it
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the file is to be read, whatever its ending [default: what the ending says]
    #[arg(long, value_name = "FORMAT", value_parser = words::<Format>(Format::WORDS))]
    format: Option<Format>,
    /// Name of this client, unique at its server
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Group that this client serves [default: default]
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Control address of the server; may be given more than once [default: 127.0.0.1:7000]
    #[arg(long, value_name = "HOST:PORT")]
    server: Vec<String>,
    /// Local service to offer, as the upstream `main`; a port alone is on 127.0.0.1
    #[arg(long, value_name = "ADDR")]
    local: Option<String>,
    /// File that holds the secret
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ClientArgs {
    /// The flags as the configuration takes them.
    pub fn flags(self, logging: LoggingArgs) -> ClientFlags {
        ClientFlags {
            client_id: self.client_id,
            group: self.group,
            servers: self.server,
            local: self.local,
            token_file: self.token_file,
            format: self.format,
            logging: logging.into(),
        }
    }
}

/// Flags of `adit forward`.
#[derive(Args, Debug)]
pub struct ForwardArgs {
    /// Configuration file, .yaml or .toml, or `-` for standard input; flags win over it
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the file is to be read, whatever its ending [default: what the ending says]
    #[arg(long, value_name = "FORMAT", value_parser = words::<Format>(Format::WORDS))]
    format: Option<Format>,
    /// Address where visitors come in [default: 127.0.0.1:1234]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where visitors may be sent, as in a file of candidates; may be given more than once
    #[arg(long, value_name = "HOST:PORT")]
    candidate: Vec<String>,
}

impl ForwardArgs {
    /// The flags as the configuration takes them.
    pub fn flags(self, logging: LoggingArgs) -> ForwardFlags {
        ForwardFlags {
            listen: self.listen,
            candidates: self.candidate,
            format: self.format,
            logging: logging.into(),
        }
    }
}

/// Flags of `adit health`.
#[derive(Args, Debug)]
pub struct HealthArgs {
    /// The node's admin address
    #[arg(long, value_name = "ADDR", default_value_t = SERVER_ADMIN.to_string())]
    pub admin: String,
}

/// Flags of `adit check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Configuration file to check, or `-` for standard input
    #[arg(
        short,
        long,
        value_name = "FILE",
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    config: Option<PathBuf>,
    /// The same without `-c`
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// How the file is to be read, whatever its ending [default: what the ending says]
    #[arg(long, value_name = "FORMAT", value_parser = words::<Format>(Format::WORDS))]
    pub format: Option<Format>,
    /// What the file is for [default: what its keys say]
    #[arg(long, value_name = "ROLE", value_parser = words::<Role>(Role::WORDS))]
    pub role: Option<Role>,
    /// File that holds the secret, as for `adit server` and `adit client`
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl CheckArgs {
    /// The file to check.
    pub fn path(&self) -> Option<&Path> {
        self.config.as_deref().or(self.file.as_deref())
    }
}

/// What can be asked of rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Say which rule wins for a request, and why the others do not
    #[command(after_help = EXPLAIN_EXAMPLE)]
    Explain(ExplainArgs),
}

const EXPLAIN_EXAMPLE: &str = "\
Examples:
  adit rules explain -c server.yaml --url http://api.example.com/v1/x
  adit rules explain -c server.yaml --method POST --url http://shop.example.com/shop.Cart/Add -H 'content-type: application/grpc'

Exit codes: 0 a rule wins, 1 none does, 2 wrong usage or configuration.";

/// Flags of `adit rules explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The server's configuration file, or `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// How the file is to be read, whatever its ending [default: what the ending says]
    #[arg(long, value_name = "FORMAT", value_parser = words::<Format>(Format::WORDS))]
    pub format: Option<Format>,
    /// The request's method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub method: String,
    /// The request's URL, with its host
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// A header of the request, as `NAME: VALUE`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
}

/// Flags of `adit demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Send some requests through the tunnel, say how they went, and end
    #[arg(long)]
    pub once: bool,
    /// Port where visitors come in [default: 8080, with --once any free port]
    #[arg(long)]
    pub port: Option<u16>,
}

fn words<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: std::str::FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| word.parse::<T>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_arrive() {
        let line = "adit client --client-id a --server x --server y:1 --local 3000 --log-level debug";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Client(args) = cli.command else {
            panic!("parsed as another command");
        };
        let flags = args.flags(cli.logging);
        assert_eq!(flags.client_id.as_deref(), Some("a"));
        assert_eq!(flags.servers, ["x", "y:1"]);
        assert_eq!(flags.local.as_deref(), Some("3000"));
        assert_eq!(flags.logging.level, Some(Level::Debug));
    }

    #[test]
    fn candidates_are_many() {
        let line = "adit forward --candidate a:1 --candidate 10.0.0.0/30:1 --listen :5";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Forward(args) = cli.command else {
            panic!("parsed as another command");
        };
        let flags = args.flags(cli.logging);
        assert_eq!(flags.candidates, ["a:1", "10.0.0.0/30:1"]);
        assert_eq!(flags.listen.as_deref(), Some(":5"));
    }

    #[test]
    fn no_secret_is_an_argument() {
        for line in ["adit server --token x", "adit client --client-id a --token x"] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err());
        }
    }
}
