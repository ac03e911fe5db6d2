//! Adit beside rathole, in one run: `cargo bench --bench tunnel`.
//!
//! Starts a server and a client of each as processes of their own, with the load tool and the upstream in
//! this one, and takes turns between them. Prints medians, their ratio, and the CPU seconds that server and
//! client used. Without `rathole` on the PATH only Adit is measured. Figures from a busy machine are noise:
//! the spread is printed beside each.

mod compare;
mod load;
mod program;
mod tunnels;
mod upstream;

#[tokio::main]
async fn main() {
    let upstream = upstream::start(([127, 0, 0, 1], 0).into()).await;
    let ground = tunnels::Ground::loopback(upstream);
    let adit = tunnels::adit("adit", &ground, "").await;
    let mut programs = vec![adit.expect("the tunnel comes up")];
    match tunnels::rathole(&ground).await {
        Ok(rathole) => programs.push(rathole),
        Err(why) => println!("{why}: nothing to compare with"),
    }
    compare::compare_all("sessions", &programs).await;
}
