//! What users see: the message for each mistake (`mistakes`), and what each form comes to (`meaning`).

use std::path::Path;

use super::*;

mod choice;
mod forms;
mod forward;
mod meaning;
mod mistakes;
mod ranges;
mod rules;
mod traps;

const TOKEN: &str = "0123456789abcdef";

fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("9000".to_owned()),
        "NAME" => Some("web".to_owned()),
        "WORD" => Some("many".to_owned()),
        _ => None,
    }
}

fn with_token(name: &str) -> Option<String> {
    match name {
        "ADIT_TOKEN" => Some(TOKEN.to_owned()),
        _ => env(name),
    }
}

fn source(text: &str, format: Format) -> Result<Source, ConfigError> {
    let name = match format {
        Format::Yaml => "f.yaml",
        Format::Toml => "f.toml",
    };
    Source::parse(Path::new(name), text, format)
}

fn yaml_server(text: &str) -> Result<Checked<ServerConfig>, ConfigError> {
    build_server(&source(text, Format::Yaml)?, &ServerFlags::default(), &env)
}

fn toml_server(text: &str) -> Result<Checked<ServerConfig>, ConfigError> {
    build_server(&source(text, Format::Toml)?, &ServerFlags::default(), &env)
}

fn yaml_client(text: &str) -> Result<Checked<ClientConfig>, ConfigError> {
    build_client(&source(text, Format::Yaml)?, &ClientFlags::default(), &env)
}

fn yaml_forward(text: &str) -> Result<Checked<ForwardConfig>, ConfigError> {
    build_forward(&source(text, Format::Yaml)?, &ForwardFlags::default(), &env)
}

fn flags_client(flags: ClientFlags) -> Result<Checked<ClientConfig>, ConfigError> {
    build_client(&Source::none(), &flags, &env)
}

#[track_caller]
fn says<T: std::fmt::Debug>(result: Result<T, ConfigError>, expected: &str) {
    assert_eq!(result.unwrap_err().to_string(), expected);
}
