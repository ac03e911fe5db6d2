//! The `adit` binary.
use adit::{
    env::{Env, Stop},
    role::demo,
};
fn main() -> anyhow::Result<()> {
    let once = std::env::args().any(|a| a == "--once");
    let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let (_s, stop) = Stop::channel();
    let ok = local.block_on(
        &rt,
        demo::run(demo::Options { once, port: 8080 }, Env::production(stop)),
    )?;
    std::process::exit(i32::from(!ok));
}
