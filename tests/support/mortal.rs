//! Roles that can be killed.

use adit::{
    config::{ClientConfig, ServerConfig},
    env::{Env, Stop},
    role::{
        client,
        server::{Addresses, Server},
    },
};
use tokio::{sync::oneshot, task::LocalSet};

/// Something that may be killed: it runs on threads of its own, and its death closes every socket it has, as the
/// death of a process does.
pub struct Mortal {
    kill: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Mortal {
    pub fn start<F: Future<Output = ()>>(life: impl FnOnce() -> F + Send + 'static) -> Self {
        let (kill, killed) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let local = LocalSet::new();
            local.block_on(&runtime, async {
                tokio::select! {
                    biased;
                    _ = killed => {}
                    () = life() => {}
                }
            });
            drop(local);
            drop(runtime);
        });
        Self {
            kill: Some(kill),
            thread: Some(thread),
        }
    }

    /// A client that may be killed.
    pub fn client(config: ClientConfig) -> Self {
        Self::start(move || async {
            client::run(config, Env::production(Stop::channel().1))
                .await
                .unwrap();
        })
    }

    /// A server that may be killed, and where it listens.
    pub async fn server(config: ServerConfig) -> (Self, Addresses) {
        let (tell, told) = oneshot::channel();
        let it = Self::start(move || async {
            let server = Server::bind(config, Env::production(Stop::channel().1))
                .await
                .unwrap();
            let _ = tell.send(server.addresses().clone());
            server.run().await;
        });
        (it, told.await.unwrap())
    }

    /// Ends it at once; returns when it is gone.
    pub fn kill(mut self) {
        drop(self.kill.take());
        self.thread.take().unwrap().join().unwrap();
    }
}
