//! The tunnel on real sockets: what a visitor sees.

mod support;

use support::{RunningServer, echo, run, server_config, visit};

#[test]
fn a_visitor_reaches_an_upstream() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let _client = server.client("a", echo().await);
        server.wait_for_clients(1).await;
        for n in 0..10u8 {
            let request = vec![n; 1000];
            assert_eq!(visit(server.public(), &request).await.unwrap(), request);
        }
    });
}
