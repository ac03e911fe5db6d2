//! What can be wrong with a configuration, said so that the reader can mend it.

use std::{io, path::PathBuf};

use crate::candidates::ListError;

/// Why a configuration was not accepted. Nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: io::Error,
    },
    /// The file's name does not say its format.
    #[error(
        "{}: a configuration file ends in .yaml, .yml or .toml; of any other, say the format with --format yaml|toml",
        path.display()
    )]
    Ending {
        /// The file.
        path: PathBuf,
    },
    /// The file is not well-formed YAML or TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where reading stopped, from 1.
        line: usize,
        /// What was found.
        message: String,
    },
    /// A key is unknown, or its value is not acceptable.
    #[error("{}:{line}: {message}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Where the key stands, from 1.
        line: usize,
        /// The key from the root, for example `entries[0].listen`.
        key: String,
        /// What is wrong; names the key.
        message: String,
    },
    /// A list of candidates has a line that is none.
    #[error(transparent)]
    List(#[from] ListError),
    /// A flag's value is not acceptable.
    #[error("{flag}: {message}")]
    Flag {
        /// The flag, with its dashes.
        flag: &'static str,
        /// What is wrong.
        message: String,
    },
    /// An environment variable's value is not acceptable.
    #[error("environment variable {variable}: {message}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The whole does not fit together, or lacks something that no flag, file or default gives.
    #[error("{0}")]
    Whole(String),
    /// Anybody could register, from anywhere.
    #[error(
        "{what} is not loopback, and without a secret anybody could register there: give a secret \
         (--token-file, ADIT_TOKEN or `auth`), or --insecure if you mean it"
    )]
    Insecure {
        /// The flag, or file, line and key, with its address.
        what: String,
    },
    /// The file is for another role, or does not say which.
    #[error("{}: {message}", path.display())]
    Role {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        message: String,
    },
}
