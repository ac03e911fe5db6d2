//! Adit: a reverse tunnel and TCP forwarder.
//!
//! A public server and any number of clients behind NAT carry traffic to services nobody can reach from
//! outside. Everything Adit does is one sentence:
//!
//! ```text
//! visitor -> entry -> rules -> group -> active set -> target -> pool -> stream -> session -> upstream
//! ```
//!
//! The modules stand in floor order: each imports only what stands below it. `docs/architecture.md` is the
//! guided tour.

// The roof: roles assemble actors from configuration.
pub mod role;
pub mod config;

// Where visitors and operators come in, and one visitor's way through.
pub mod admin;
pub mod entry;
pub mod session;

// Who is here, who may be used, what is warm.
pub mod registry;
pub mod selector;
pub mod prober;
pub mod pool;

// One thing that may be chosen, and its live figures.
pub mod target;

// One connection between client and server, and what crosses it.
pub mod link;
pub mod wire;

// Which rule a request falls under.
pub mod rules;
// What is done to HTTP requests on their way.
pub mod plugin;

// What people list and files hold.
pub mod candidates;

// The ground.
pub mod follow;
pub mod env;
pub mod metrics;
pub mod transport;
pub mod files;
pub mod backoff;
pub mod id;
pub mod notice;
pub mod probe;
pub mod time;
