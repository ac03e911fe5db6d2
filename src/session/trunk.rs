//! One data link at the client.

use std::sync::Arc;

use super::serve::Registration;
use crate::link::framed::Framed;

/// Serves an open data link until it ends. Nothing is carried on one yet: it is closed again.
pub async fn run(_registration: Arc<Registration>, framed: Framed) {
    drop(framed);
}
